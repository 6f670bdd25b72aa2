//! Numbers of `linux/ip_vs.h`.

/// `IPVS_GENL_NAME`
pub(super) const FAMILY: &str = "IPVS";
/// `IPVS_GENL_VERSION`
pub(super) const VERSION: u8 = 1;

/// `IPVS_CMD_*`
pub(super) mod command {
    pub(in super::super) const NEW_SERVICE: u8 = 1;
    pub(in super::super) const SET_SERVICE: u8 = 2;
    pub(in super::super) const DEL_SERVICE: u8 = 3;
    pub(in super::super) const GET_SERVICE: u8 = 4;
    pub(in super::super) const NEW_DEST: u8 = 5;
    pub(in super::super) const SET_DEST: u8 = 6;
    pub(in super::super) const DEL_DEST: u8 = 7;
    pub(in super::super) const GET_DEST: u8 = 8;
    pub(in super::super) const SET_CONFIG: u8 = 12;
    pub(in super::super) const GET_CONFIG: u8 = 13;
    pub(in super::super) const GET_INFO: u8 = 15;
}

/// `IPVS_CMD_ATTR_*`
pub(super) mod top {
    pub(in super::super) const SERVICE: u16 = 1;
    pub(in super::super) const DEST: u16 = 2;
    pub(in super::super) const TIMEOUT_TCP: u16 = 4;
    pub(in super::super) const TIMEOUT_TCP_FIN: u16 = 5;
    pub(in super::super) const TIMEOUT_UDP: u16 = 6;
}

/// `IPVS_SVC_ATTR_*`
pub(super) mod service {
    pub(in super::super) const AF: u16 = 1;
    pub(in super::super) const PROTOCOL: u16 = 2;
    pub(in super::super) const ADDR: u16 = 3;
    pub(in super::super) const PORT: u16 = 4;
    pub(in super::super) const FWMARK: u16 = 5;
    pub(in super::super) const SCHED_NAME: u16 = 6;
    pub(in super::super) const FLAGS: u16 = 7;
    pub(in super::super) const TIMEOUT: u16 = 8;
    pub(in super::super) const NETMASK: u16 = 9;
    pub(in super::super) const STATS: u16 = 10;
    pub(in super::super) const STATS64: u16 = 12;
}

/// `IP_VS_SVC_F_*`
pub(super) mod flag {
    pub(in super::super) const PERSISTENT: u32 = 0x01;
    pub(in super::super) const ONE_PACKET: u32 = 0x04;
    pub(in super::super) const SCHEDULER_1: u32 = 0x08;
    pub(in super::super) const SCHEDULER_2: u32 = 0x10;
    pub(in super::super) const SCHEDULER_3: u32 = 0x20;
    /// All that are ours to set; the kernel keeps `IP_VS_SVC_F_HASHED` for itself.
    pub(in super::super) const ALL: u32 =
        PERSISTENT | ONE_PACKET | SCHEDULER_1 | SCHEDULER_2 | SCHEDULER_3;
}

/// `IPVS_DEST_ATTR_*`
pub(super) mod destination {
    pub(in super::super) const ADDR: u16 = 1;
    pub(in super::super) const PORT: u16 = 2;
    pub(in super::super) const FWD_METHOD: u16 = 3;
    pub(in super::super) const WEIGHT: u16 = 4;
    pub(in super::super) const U_THRESH: u16 = 5;
    pub(in super::super) const L_THRESH: u16 = 6;
    pub(in super::super) const ACTIVE_CONNS: u16 = 7;
    pub(in super::super) const INACT_CONNS: u16 = 8;
    pub(in super::super) const PERSIST_CONNS: u16 = 9;
    pub(in super::super) const STATS: u16 = 10;
    pub(in super::super) const ADDR_FAMILY: u16 = 11;
    pub(in super::super) const STATS64: u16 = 12;
}

/// `IP_VS_CONN_F_*` below `IP_VS_CONN_F_FWD_MASK`
pub(super) mod forward {
    pub(in super::super) const MASQUERADE: u32 = 0;
    pub(in super::super) const LOCAL: u32 = 1;
    pub(in super::super) const TUNNEL: u32 = 2;
    pub(in super::super) const ROUTE: u32 = 3;
    pub(in super::super) const BYPASS: u32 = 4;
}

/// `IPVS_STATS_ATTR_*`
pub(super) mod statistics {
    pub(in super::super) const CONNS: u16 = 1;
    pub(in super::super) const INPKTS: u16 = 2;
    pub(in super::super) const OUTPKTS: u16 = 3;
    pub(in super::super) const INBYTES: u16 = 4;
    pub(in super::super) const OUTBYTES: u16 = 5;
    pub(in super::super) const CPS: u16 = 6;
    pub(in super::super) const INPPS: u16 = 7;
    pub(in super::super) const OUTPPS: u16 = 8;
    pub(in super::super) const INBPS: u16 = 9;
    pub(in super::super) const OUTBPS: u16 = 10;
}

/// `IPVS_INFO_ATTR_*`
pub(super) mod info {
    pub(in super::super) const VERSION: u16 = 1;
    pub(in super::super) const CONN_TAB_SIZE: u16 = 2;
}

/// `AF_INET`
pub(super) const AF_INET: u16 = 2;
/// `AF_INET6`
pub(super) const AF_INET6: u16 = 10;
