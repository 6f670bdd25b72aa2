//! The API server, brought from one scene to the next.

use std::collections::BTreeMap;

use serde_json::Value;
use sluice_e2e::control_plane::{Api, ControlPlane, Options, Reply};
use sluice_e2e::packets::row::Scene;
use sluice_service_plan::model::NodeFacts;

use crate::marker::Marker;
use crate::objects::{self, Object};

/// See the module.
pub(crate) struct Cluster {
    api: Api,
    /// By their paths.
    held: BTreeMap<String, Object>,
    marker: Marker,
    pub(crate) control_plane: ControlPlane,
}

impl Cluster {
    /// Without nodes. `None`, and reported, where there are no programs and no Go to build them.
    pub(crate) fn up(suite: &str) -> Option<Self> {
        let control_plane = ControlPlane::start_or_skip(suite, &Options::default()).unwrap()?;
        Some(Self {
            api: control_plane.api().unwrap(),
            held: BTreeMap::new(),
            marker: Marker::first(),
            control_plane,
        })
    }

    /// Makes the node anew: a proxy that runs would end when its node changes.
    pub(crate) fn set_node(&mut self, facts: &NodeFacts) {
        let node = objects::node(facts);
        if self.held.get(&node.path()) == Some(&node) {
            return;
        }
        if self.held.remove(&node.path()).is_some() {
            self.delete(&node.path());
        }
        self.create(&node);
        self.held.insert(node.path(), node);
    }

    /// Makes, changes and deletes what it takes, then changes the marker.
    pub(crate) fn change_to(&mut self, scene: &Scene) -> Marker {
        let services = scene.services.iter().map(objects::service);
        let slices = scene.slices.iter().map(objects::slice);
        let wanted: BTreeMap<String, Object> = services
            .chain(slices)
            .map(|object| (object.path(), object))
            .collect();
        let markers: Vec<Object> = self.marker.objects();
        let node = |object: &Object| object.collection == objects::NODES;
        let gone: Vec<String> = self
            .held
            .iter()
            .filter(|(path, held)| {
                let stays = wanted
                    .get(*path)
                    .is_some_and(|new| !new.is_another_than(held));
                let not_of_a_scene = node(held) || markers.iter().any(|one| one.path() == **path);
                !stays && !not_of_a_scene
            })
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            self.delete(&path);
            self.held.remove(&path);
        }
        for object in wanted.into_values() {
            self.put(object);
        }
        self.mark()
    }

    /// Changes the marker.
    pub(crate) fn mark(&mut self) -> Marker {
        self.marker = self.marker.next();
        for object in self.marker.objects() {
            self.put(object);
        }
        self.marker
    }

    /// Creates or replaces an object, unless it is so already.
    fn put(&mut self, object: Object) {
        match self.held.get(&object.path()) {
            Some(held) if *held == object => return,
            Some(held) => {
                if held.body != object.body {
                    done(&self.api.put(&object.path(), &object.body).unwrap());
                }
                if held.status != object.status {
                    self.set_status(&object);
                }
            }
            None => self.create(&object),
        }
        self.held.insert(object.path(), object);
    }

    fn create(&self, object: &Object) {
        done(&self.api.post(&object.collection, &object.body).unwrap());
        if object.status.is_some() {
            self.set_status(object);
        }
    }

    fn set_status(&self, object: &Object) {
        let mut whole = object.body.clone();
        whole["status"] = object.status.clone().unwrap_or(Value::Null);
        let path = format!("{}/status", object.path());
        done(&self.api.put(&path, &whole).unwrap());
    }

    fn delete(&self, path: &str) {
        done(&self.api.delete(path).unwrap());
    }
}

fn done(reply: &Reply) {
    assert!(reply.is_success(), "the API server refuses: {}", reply.body);
}
