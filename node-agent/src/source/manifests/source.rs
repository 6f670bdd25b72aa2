//! Keeps what the files of a directory say, and tells what changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_crds::v1alpha1::ServiceProxyPolicySpec;
use sluice_service_plan::model::NodeFacts;

use super::super::{Kind, Refusal, Update};
use super::ManifestError;
use super::claims::Claims;
use super::directory::{self, Stamp};
use super::file::{self, Content, Entry};
use super::last_good::LastGood;
use super::object::{Object, ObjectKey, Policy};
use super::policies;
use sluice_plan_input::convert::NodeObject;

/// What is known of a file.
#[derive(Debug)]
struct KnownFile {
    stamp: Stamp,
    /// Its objects: those that can be used, and those whose last good version stays.
    objects: Box<[(ObjectKey, u64)]>,
    refusals: Vec<Refusal>,
}

/// The manifest files of one directory.
#[derive(Debug)]
pub struct ManifestSource {
    directory: PathBuf,
    node_name: Arc<str>,
    own_policy: ServiceProxyPolicySpec,
    files: BTreeMap<Arc<str>, KnownFile>,
    claims: Claims,
    node: Option<NodeObject>,
    policies: BTreeMap<Arc<str>, Policy>,
    told_node: Option<NodeFacts>,
    told_policy: Option<ServiceProxyPolicySpec>,
    told_refusals: BTreeSet<Refusal>,
    last_good: Option<LastGood>,
}

impl ManifestSource {
    /// A source that has read nothing yet. `node_name` is the agent's node; `own_policy` counts where no manifest has a policy for it.
    pub fn new(
        directory: impl Into<PathBuf>,
        node_name: &str,
        own_policy: ServiceProxyPolicySpec,
    ) -> Self {
        Self {
            directory: directory.into(),
            node_name: Arc::from(node_name),
            own_policy,
            files: BTreeMap::new(),
            claims: Claims::default(),
            node: None,
            policies: BTreeMap::new(),
            told_node: None,
            told_policy: None,
            told_refusals: BTreeSet::new(),
            last_good: None,
        }
    }

    /// Keeps copies of the good files in this directory, for an agent that starts when one of them is broken.
    #[must_use]
    pub fn with_last_good(mut self, directory: impl Into<PathBuf>) -> Self {
        self.last_good = Some(LastGood::new(directory.into()));
        self
    }

    /// Copies the files that became good. May take a while, so the update goes out first.
    pub fn save_last_good(&mut self) {
        // Before the first load it is not known which files there are; then the copies are all that is left of the broken ones.
        let is_loaded = self.told_policy.is_some();
        if let Some(last_good) = self.last_good.as_mut().filter(|_| is_loaded) {
            let known = self.files.keys().map(|name| &**name).collect();
            last_good.save(&self.directory, &known);
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Refusals that stand, in the order of files, lines and fields.
    pub fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        self.told_refusals.iter()
    }

    /// Reads what changed since the last call. The first update has everything. After an error nothing has changed.
    pub fn load(&mut self) -> Result<Update, ManifestError> {
        let listed = directory::list(&self.directory)?;
        let mut update = Update::default();
        let gone: Vec<Arc<str>> = self
            .files
            .keys()
            .filter(|name| !listed.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            self.forget_file(&name);
        }
        for (name, stamp) in &listed {
            if !self
                .files
                .get(name)
                .is_some_and(|known| known.stamp.is_unchanged(stamp))
            {
                self.read_file(name, *stamp, &mut update);
            }
        }
        for name in self.claims.take_heirs() {
            if let Some(stamp) = listed.get(&name) {
                self.read_file(&name, *stamp, &mut update);
            }
        }
        for key in self.claims.take_orphans().into_keys() {
            self.remove(key, &mut update);
        }
        self.tell_node_and_policy(&mut update);
        self.tell_refusals(&mut update);
        Ok(update)
    }

    fn forget_file(&mut self, name: &Arc<str>) {
        for (key, _) in self
            .files
            .remove(name)
            .map(|file| file.objects)
            .unwrap_or_default()
        {
            self.claims.withdraw(&key, name);
        }
    }

    fn read_file(&mut self, name: &Arc<str>, mut stamp: Stamp, update: &mut Update) {
        let known = self.files.remove(name);
        let is_new = known.is_none();
        let mut former = known.map(|file| file.objects).unwrap_or_default();
        let text = self.text_of(name);
        if text.is_err() {
            // When it can be read again, it need not look otherwise.
            stamp = Stamp::UNKNOWN;
        }
        let mut read = self.read_content(name, text.as_deref(), &former);
        let is_good = matches!(&read, Ok(content) if content.refusals.is_empty());
        if is_new && !is_good && self.take_last_good(name, &mut former, update) {
            read = self.read_content(name, text.as_deref(), &former);
        }
        let (objects, refusals) = match read {
            Ok(content) => self.take_content(name, former, content, update),
            Err(refusal) => (former, vec![refusal]),
        };
        self.files.insert(
            name.clone(),
            KnownFile {
                stamp,
                objects,
                refusals,
            },
        );
    }

    /// Puts the objects of a file's copy in force, as if the file had been read when it was good.
    fn take_last_good(
        &mut self,
        name: &Arc<str>,
        objects: &mut Box<[(ObjectKey, u64)]>,
        update: &mut Update,
    ) -> bool {
        let text = self.last_good.as_ref().and_then(|copies| copies.text(name));
        let read = text.map(|text| file::read(name, &text, &self.node_name, &HashMap::new()));
        let Some(Ok(content)) = read else {
            return false;
        };
        tracing::warn!(file = %name, "the file is broken: its objects are taken from the copy of its last good state");
        *objects = self.take_content(name, Box::default(), content, update).0;
        true
    }

    fn text_of(&self, name: &Arc<str>) -> Result<String, Refusal> {
        fs::read_to_string(self.directory.join(&**name)).map_err(|error| Refusal {
            file: Some(name.clone()),
            line: None,
            kind: None,
            object: String::new(),
            field: String::new(),
            reason: format!("the file cannot be read ({error}): until it can, the last good state of its objects is kept"),
        })
    }

    fn read_content(
        &mut self,
        name: &Arc<str>,
        text: Result<&str, &Refusal>,
        former: &[(ObjectKey, u64)],
    ) -> Result<Content, Refusal> {
        let text = text.map_err(Clone::clone)?;
        let held = former
            .iter()
            .filter(|(key, _)| self.claims.is_held_by(key, name));
        let known: HashMap<u64, ObjectKey> = held.map(|(key, hash)| (*hash, key.clone())).collect();
        let read = file::read(name, text, &self.node_name, &known);
        if let Some(last_good) = &mut self.last_good {
            match &read {
                Ok(content) if content.refusals.is_empty() => last_good.is_good(name, text),
                _ => last_good.is_broken(name),
            }
        }
        read
    }

    /// Puts a file's objects in force and takes back those that it no longer has. Returns what is to be known of the file.
    fn take_content(
        &mut self,
        name: &Arc<str>,
        former: Box<[(ObjectKey, u64)]>,
        content: Content,
        update: &mut Update,
    ) -> (Box<[(ObjectKey, u64)]>, Vec<Refusal>) {
        let mut objects = BTreeMap::new();
        for Entry {
            key,
            line,
            hash,
            object,
        } in content.entries
        {
            if self.claims.claim(&key, name, line, hash)
                && let Some(object) = object
            {
                self.set(object, update);
            }
            objects.insert(key, hash);
        }
        for (key, hash) in former {
            if objects.contains_key(&key) {
                continue;
            }
            if content.has_nameless || content.refused_names.contains(&key.name) {
                objects.insert(key, hash);
            } else {
                self.claims.withdraw(&key, name);
            }
        }
        (objects.into_iter().collect(), content.refusals)
    }

    fn set(&mut self, object: Object, update: &mut Update) {
        match object {
            Object::Service(service) => {
                update.services.insert(service.name.clone(), Some(service));
            }
            Object::EndpointSlice(slice, cause) => {
                if let Some(at) = cause {
                    update.causes.insert(slice.name.clone(), at);
                }
                update.slices.insert(slice.name.clone(), Some(slice));
            }
            Object::Node(node) => self.node = Some(*node),
            Object::Policy(policy) => {
                self.policies.insert(policy.name.clone(), *policy);
            }
        }
    }

    fn remove(&mut self, key: ObjectKey, update: &mut Update) {
        match key.kind {
            Kind::Service => {
                update.services.insert(key.name, None);
            }
            Kind::EndpointSlice => {
                update.slices.insert(key.name, None);
            }
            Kind::Node => self.node = None,
            Kind::ServiceProxyPolicy => {
                self.policies.remove(&key.name.name);
            }
            Kind::NodeServiceProxy | Kind::Pod | Kind::Namespace => {}
        }
    }

    /// The policies that select this node, the one that counts first.
    fn selecting_policies(&self) -> Vec<&Policy> {
        let unlabelled = BTreeMap::new();
        let labels = self.node.as_ref().map_or(&unlabelled, |node| &node.labels);
        policies::selecting(&self.policies, labels)
    }

    fn tell_node_and_policy(&mut self, update: &mut Update) {
        let selecting = self.selecting_policies();
        let policy = selecting
            .first()
            .map_or(&self.own_policy, |policy| &policy.spec);
        if self.told_policy.as_ref() != Some(policy) {
            self.told_policy = Some(policy.clone());
            update.policy.clone_from(&self.told_policy);
        }
        let facts = self.node.as_ref().map_or_else(
            || NodeFacts {
                name: self.node_name.clone(),
                ..NodeFacts::default()
            },
            |node| node.facts.clone(),
        );
        if self.told_node.as_ref() != Some(&facts) {
            self.told_node = Some(facts);
            update.node.clone_from(&self.told_node);
        }
    }

    /// The file that an object without namespace is taken from.
    fn file_of(&self, kind: Kind, name: &str) -> Option<Arc<str>> {
        let has_it = |(key, _): &(ObjectKey, u64)| key.kind == kind && &*key.name.name == name;
        let mut files = self.files.iter();
        let file = files.find(|(_, file)| file.objects.iter().any(has_it));
        file.map(|(file, _)| file.clone())
    }

    fn tell_refusals(&mut self, update: &mut Update) {
        let of_files = self
            .files
            .values()
            .flat_map(|file| file.refusals.iter().cloned());
        let of_second_files = self
            .claims
            .second_files()
            .map(|(key, file, line, holder)| Refusal {
                file: Some(file.clone()),
                line: Some(line),
                kind: Some(key.kind),
                object: key.display_name(),
                field: String::new(),
                reason: format!(
                    "{holder} has it too and counts: remove it from one of the two files"
                ),
            });
        let selecting = self.selecting_policies();
        let losers = policies::losers(&selecting).into_iter();
        let of_policies = losers.map(|(policy, reason)| Refusal {
            file: self.file_of(Kind::ServiceProxyPolicy, &policy.name),
            line: None,
            kind: Some(Kind::ServiceProxyPolicy),
            object: policy.name.to_string(),
            field: "spec.priority".to_owned(),
            reason,
        });
        let standing: BTreeSet<Refusal> =
            of_files.chain(of_second_files).chain(of_policies).collect();
        update.refusals = standing.difference(&self.told_refusals).cloned().collect();
        update.settled = self.told_refusals.difference(&standing).cloned().collect();
        self.told_refusals = standing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_could_not_be_read_is_read_again_though_it_looks_the_same() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("f.yaml"), b"\xff").unwrap();
        // Long enough ago to be told from what comes after it.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let policy = ServiceProxyPolicySpec::default();
        let mut source = ManifestSource::new(directory.path(), "n", policy);
        assert_eq!(source.load().unwrap().refusals.len(), 1);
        let stamp = source.files["f.yaml"].stamp;
        let now = directory::list(directory.path()).unwrap()["f.yaml"];
        assert!(now.is_unchanged(&now) && !stamp.is_unchanged(&now));
    }
}
