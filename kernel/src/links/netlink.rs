//! The door to links by route netlink.

use std::fmt;
use std::future::Future;

use futures::{Stream, TryStreamExt};
use netlink_packet_route::AddressFamily;
use netlink_sys::protocols::NETLINK_ROUTE;
use rtnetlink::{Handle, LinkBridgePort, LinkDummy, LinkUnspec};
use tokio::runtime::{Builder, Runtime};

use super::error::{EADDRNOTAVAIL, EEXIST, ENOENT, EOPNOTSUPP, ESRCH, refusal};
use super::message::{interface_address, link, route, route_question};
use super::orders::{Order, give};
use super::{InterfaceAddress, Link, LinkError, Links, RefusedObject, Route, RouteFilter};
use crate::netlink::NetlinkSocket;

/// [`Links`] of the network namespace of the thread that opened it, whatever thread calls.
pub struct NetlinkLinks {
    /// Runs only while a call blocks: the other end of `questions` lives on it.
    runtime: Runtime,
    questions: Handle,
    /// Blocks, and sends many at a time: an executor between each order and its answer would take ten times as long.
    orders: NetlinkSocket,
}

impl fmt::Debug for NetlinkLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetlinkLinks").finish_non_exhaustive()
    }
}

impl NetlinkLinks {
    /// Opens sockets in this thread's network namespace. Calls must not come from within an async task.
    pub fn open() -> Result<Self, LinkError> {
        let failed = |operation| move |source| LinkError::Socket { operation, source };
        let runtime = Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(failed("start a runtime"))?;
        let questions = {
            let _inside = runtime.enter();
            // Kernels before 4.20 cannot check strictly: they list everything, and the rest is left out here.
            let (connection, questions, _) = rtnetlink::new_connection_with_strict_check()
                .or_else(|_| rtnetlink::new_connection())
                .map_err(failed("open"))?;
            runtime.spawn(connection);
            questions
        };
        let orders = NetlinkSocket::open(NETLINK_ROUTE).map_err(failed("open"))?;
        Ok(Self {
            runtime,
            questions,
            orders,
        })
    }

    fn ask<T>(
        &self,
        operation: impl FnOnce() -> String,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, LinkError> {
        self.runtime.block_on(request).map_err(|error| match error {
            rtnetlink::Error::NetlinkError(answer) => refusal(operation(), answer.raw_code()),
            other => LinkError::Malformed {
                operation: operation(),
                message: other.to_string(),
            },
        })
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

    fn link_named(&self, name: &str) -> Result<Option<Link>, LinkError> {
        let mut found = None;
        let request = self.questions.link().get().match_name(name);
        let listed = self.dump("one link", request.execute(), |message| {
            found = Some(link(&message));
        });
        unless_absent(listed)?;
        Ok(found)
    }

    fn give_one<'a, T>(
        &mut self,
        object: &'a T,
        order: fn(&'a T) -> Order<'a>,
    ) -> Result<(), LinkError> {
        let refused = give(&mut self.orders, std::slice::from_ref(object), order)?;
        refused
            .into_iter()
            .next()
            .map_or(Ok(()), |refused| Err(refused.error))
    }

    /// Of orders to delete: that it is not there is no refusal.
    fn give_deletions<'a, T>(
        &mut self,
        objects: &'a [T],
        order: fn(&'a T) -> Order<'a>,
    ) -> Result<Vec<RefusedObject>, LinkError> {
        let mut refused = give(&mut self.orders, objects, order)?;
        refused.retain(|refused| !is_absence(&refused.error));
        Ok(refused)
    }
}

impl Links for NetlinkLinks {
    fn links(&mut self) -> Result<Vec<Link>, LinkError> {
        let mut found = Vec::new();
        self.dump("links", self.questions.link().get().execute(), |message| {
            found.push(link(&message));
        })?;
        Ok(found)
    }

    fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, LinkError> {
        let mut found = Vec::new();
        let request = self.questions.address().get();
        self.dump("addresses", request.execute(), |message| {
            found.extend(interface_address(&message));
        })?;
        Ok(found)
    }

    fn addresses_of(&mut self, interface: u32) -> Result<Vec<InterfaceAddress>, LinkError> {
        let mut found = Vec::new();
        let mut request = self.questions.address().get();
        request.message_mut().header.index = interface;
        let listed = self.dump("addresses", request.execute(), |message| {
            found.extend(interface_address(&message).filter(|a| a.interface == interface));
        });
        unless_absent(listed)?;
        Ok(found)
    }

    fn routes_of(&mut self, filter: &RouteFilter) -> Result<Vec<Route>, LinkError> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let request = self.questions.route().get(route_question(family, filter));
            let listed = self.dump("routes", request.execute(), |message| {
                found.extend(route(&message).filter(|route| filter.matches(route)));
            });
            unless_absent(listed)?;
        }
        Ok(found)
    }

    fn add_dummy(&mut self, name: &str) -> Result<u32, LinkError> {
        let operation = || format!("add dummy device {name}");
        if self.link_named(name)?.is_none() {
            let request = self.questions.link().add(LinkDummy::new(name).build());
            match self.ask(operation, request.execute()) {
                // Made by someone else meanwhile.
                Ok(()) | Err(LinkError::Kernel { code: EEXIST, .. }) => {}
                Err(LinkError::Kernel {
                    code: EOPNOTSUPP, ..
                }) => {
                    return Err(LinkError::NoDummyDevice {
                        name: name.to_owned(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        match self.link_named(name)? {
            Some(link) => link.dummy_index(),
            None => Err(LinkError::NoSuchInterface {
                operation: operation(),
            }),
        }
    }

    fn delete_link(&mut self, interface: u32) -> Result<bool, LinkError> {
        let request = self.questions.link().del(interface);
        let deleted = self.ask(
            || format!("delete interface {interface}"),
            request.execute(),
        );
        was_there(deleted)
    }

    fn set_hairpin(&mut self, interface: u32, on: bool) -> Result<(), LinkError> {
        let port = LinkBridgePort::new(interface).hairpin(on).build();
        let operation = || format!("set hairpin of interface {interface}");
        match self.ask(operation, self.questions.link().set_port(port).execute()) {
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
        self.ask(operation, self.questions.link().set(link.build()).execute())
    }

    fn add_address(&mut self, address: &InterfaceAddress) -> Result<(), LinkError> {
        self.give_one(address, Order::AddAddress)
    }

    fn delete_address(&mut self, address: &InterfaceAddress) -> Result<bool, LinkError> {
        was_there(self.give_one(address, Order::DeleteAddress))
    }

    fn add_addresses(
        &mut self,
        addresses: &[InterfaceAddress],
    ) -> Result<Vec<RefusedObject>, LinkError> {
        give(&mut self.orders, addresses, Order::AddAddress)
    }

    fn delete_addresses(
        &mut self,
        addresses: &[InterfaceAddress],
    ) -> Result<Vec<RefusedObject>, LinkError> {
        self.give_deletions(addresses, Order::DeleteAddress)
    }

    fn replace_route(&mut self, route: &Route) -> Result<(), LinkError> {
        self.give_one(route, Order::AddRoute)
    }

    fn delete_route(&mut self, route: &Route) -> Result<bool, LinkError> {
        was_there(self.give_one(route, Order::DeleteRoute))
    }

    fn add_routes(&mut self, routes: &[Route]) -> Result<Vec<RefusedObject>, LinkError> {
        give(&mut self.orders, routes, Order::AddRoute)
    }

    fn delete_routes(&mut self, routes: &[Route]) -> Result<Vec<RefusedObject>, LinkError> {
        self.give_deletions(routes, Order::DeleteRoute)
    }
}

/// The kernel's answers to a question about, or an order to delete, what is not there.
fn is_absence(error: &LinkError) -> bool {
    matches!(
        error,
        LinkError::Kernel {
            code: ENOENT | ESRCH | EADDRNOTAVAIL,
            ..
        } | LinkError::NoSuchInterface { .. }
    )
}

fn was_there(deleted: Result<(), LinkError>) -> Result<bool, LinkError> {
    match deleted {
        Err(error) if is_absence(&error) => Ok(false),
        other => other.map(|()| true),
    }
}

fn unless_absent(listed: Result<(), LinkError>) -> Result<(), LinkError> {
    was_there(listed).map(|_| ())
}
