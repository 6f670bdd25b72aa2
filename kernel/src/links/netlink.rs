//! The door to links by route netlink.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::{Stream, TryStreamExt};
use netlink_packet_route::address::AddressHeaderFlags;
use netlink_packet_route::route::RouteMessage;
use rtnetlink::{Handle, LinkBridgePort, LinkUnspec, RouteMessageBuilder};
use tokio::runtime::{Builder, Runtime};

use super::message::{address_message, interface_address, link, route, route_message};
use super::{InterfaceAddress, Link, LinkError, Links, Route};

// Of errno.h.
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const ENODEV: i32 = 19;
const EOPNOTSUPP: i32 = 95;
const EADDRNOTAVAIL: i32 = 99;

/// [`Links`] of the network namespace of the thread that opened it, whatever thread calls.
pub struct NetlinkLinks {
    /// Runs only while a call blocks: the socket's other end lives on it.
    runtime: Runtime,
    handle: Handle,
}

impl fmt::Debug for NetlinkLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetlinkLinks").finish_non_exhaustive()
    }
}

impl NetlinkLinks {
    /// Opens a socket in this thread's network namespace. Calls must not come from within an async task.
    pub fn open() -> Result<Self, LinkError> {
        let failed = |operation| move |source| LinkError::Socket { operation, source };
        let runtime = Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(failed("start a runtime"))?;
        let (connection, handle, _) = {
            let _inside = runtime.enter();
            rtnetlink::new_connection().map_err(failed("open"))?
        };
        runtime.spawn(connection);
        Ok(Self { runtime, handle })
    }

    fn ask<T>(
        &self,
        operation: impl FnOnce() -> String,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, LinkError> {
        self.runtime
            .block_on(request)
            .map_err(|e| error(operation(), e))
    }

    fn dump<T>(
        &self,
        what: &str,
        stream: impl Stream<Item = Result<T, rtnetlink::Error>>,
        mut visit: impl FnMut(T),
    ) -> Result<(), LinkError> {
        self.ask(
            || format!("list {what}"),
            stream.try_for_each(|item| {
                visit(item);
                std::future::ready(Ok(()))
            }),
        )
    }
}

impl Links for NetlinkLinks {
    fn links(&mut self) -> Result<Vec<Link>, LinkError> {
        let mut found = Vec::new();
        self.dump("links", self.handle.link().get().execute(), |message| {
            found.push(link(&message));
        })?;
        Ok(found)
    }

    fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, LinkError> {
        let mut found = Vec::new();
        self.dump(
            "addresses",
            self.handle.address().get().execute(),
            |message| {
                found.extend(interface_address(&message));
            },
        )?;
        Ok(found)
    }

    fn routes(&mut self) -> Result<Vec<Route>, LinkError> {
        let mut found = Vec::new();
        let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
        for family in [v4, v6] {
            let mut all = RouteMessage::default();
            all.header.address_family = family.header.address_family;
            self.dump(
                "routes",
                self.handle.route().get(all).execute(),
                |message| found.extend(route(&message)),
            )?;
        }
        Ok(found)
    }

    fn set_hairpin(&mut self, interface: u32, on: bool) -> Result<(), LinkError> {
        let port = LinkBridgePort::new(interface).hairpin(on).build();
        let operation = || format!("set hairpin of interface {interface}");
        match self.ask(operation, self.handle.link().set_port(port).execute()) {
            Err(LinkError::Kernel {
                code: EOPNOTSUPP, ..
            }) => Err(LinkError::NotABridgePort { interface }),
            other => other,
        }
    }

    fn set_up(&mut self, interface: u32, up: bool) -> Result<(), LinkError> {
        let link = LinkUnspec::new_with_index(interface);
        let link = if up { link.up() } else { link.down() };
        let operation = || {
            format!(
                "take interface {interface} {}",
                if up { "up" } else { "down" }
            )
        };
        self.ask(operation, self.handle.link().set(link.build()).execute())
    }

    fn add_address(&mut self, address: &InterfaceAddress) -> Result<(), LinkError> {
        let InterfaceAddress {
            interface,
            address: ip,
            prefix_len,
        } = *address;
        let mut request = self
            .handle
            .address()
            .add(interface, ip, prefix_len)
            .replace();
        if matches!(ip, IpAddr::V6(_)) {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        self.ask(
            || format!("add address {ip}/{prefix_len} to interface {interface}"),
            request.execute(),
        )
    }

    fn delete_address(&mut self, address: &InterfaceAddress) -> Result<bool, LinkError> {
        let operation = || {
            format!(
                "delete address {}/{} of interface {}",
                address.address, address.prefix_len, address.interface
            )
        };
        was_there(
            self.ask(
                operation,
                self.handle
                    .address()
                    .del(address_message(address))
                    .execute(),
            ),
        )
    }

    fn replace_route(&mut self, route: &Route) -> Result<(), LinkError> {
        let request = self.handle.route().add(route_message(route)).replace();
        self.ask(
            || format!("add route to {}", route.destination),
            request.execute(),
        )
    }

    fn delete_route(&mut self, route: &Route) -> Result<bool, LinkError> {
        let request = self.handle.route().del(route_message(route));
        was_there(self.ask(
            || format!("delete route to {}", route.destination),
            request.execute(),
        ))
    }
}

fn was_there(outcome: Result<(), LinkError>) -> Result<bool, LinkError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(LinkError::Kernel {
            code: ENOENT | ESRCH | EADDRNOTAVAIL,
            ..
        }) => Ok(false),
        Err(e) => Err(e),
    }
}

fn error(operation: String, error: rtnetlink::Error) -> LinkError {
    match error {
        rtnetlink::Error::NetlinkError(answer) => match answer.raw_code().abs() {
            EPERM => LinkError::NotPermitted { operation },
            ENODEV => LinkError::NoSuchInterface { operation },
            code => LinkError::Kernel { operation, code },
        },
        other => LinkError::Malformed {
            operation,
            message: other.to_string(),
        },
    }
}
