//! What the kernel's error codes mean, by the change that they answer.

use super::super::{Cause, Change};

pub(super) const EPERM: i32 = 1;
const ENOENT: i32 = 2;
pub(super) const ESRCH: i32 = 3;
const ENOMEM: i32 = 12;
const EEXIST: i32 = 17;
pub(super) const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const ERANGE: i32 = 34;
const EAFNOSUPPORT: i32 = 97;
const ENOBUFS: i32 = 105;

/// Why a change was refused.
pub(super) fn cause(change: &Change, code: i32) -> Cause {
    match (code, change) {
        (EPERM, _) => Cause::NotPermitted,
        (ESRCH, _) => Cause::NoSuchVirtualServer,
        (EEXIST, _) => Cause::Exists,
        (ENOENT, Change::NewService(service) | Change::SetService(service)) => {
            Cause::NoSuchScheduler(service.scheduler.clone())
        }
        (ENOENT, Change::SetDestination(..) | Change::DeleteDestination(..)) => {
            Cause::NoSuchRealServer
        }
        (EINVAL, Change::NewDestination(..)) => Cause::BadAddress,
        (ERANGE, Change::NewDestination(..) | Change::SetDestination(..)) => Cause::OutOfRange,
        (EAFNOSUPPORT, _) => Cause::NoSuchFamily,
        (ENOMEM | ENOSPC | ENOBUFS, _) => Cause::NoMemory,
        _ => Cause::Kernel(code),
    }
}
