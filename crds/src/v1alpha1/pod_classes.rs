//! Which source address traffic of some pods has.

use std::collections::BTreeMap;

use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cidr::{Cidr, check_networks, narrow_networks};
use super::interface_name::{check_interface_name, interface_name_rules};
use super::invalid::Checker;
use super::label_selector::LabelSelector;
use super::pod_sysctls::PodSysctl;
use super::schema::{catch_all_last, forbidden, literal, required, rule, says, says_with};

/// Greatest number of classes: each that says more than its action costs every node some rules.
pub(super) const MAX_CLASSES: usize = 16;
/// Greatest number of tunables of one class.
const MAX_SYSCTLS: usize = 32;

/// Pods whose traffic has another source address than the rest, and tunables that they get. The first row that matches a pod counts; it is in
/// force before the pod starts, and follows changes of labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = PodClass::rules()))]
pub struct PodClass {
    /// Name of the class, at most once in the list: lower-case letters, digits and dashes. Names that start with `sluice-` are reserved.
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = PodClass::name_rules()))]
    pub name: String,
    /// Labels of the pods that the row matches. Default: `{}`, all.
    #[serde(default)]
    pub pod_selector: LabelSelector,
    /// Labels of the namespaces whose pods the row matches. Default: `{}`, all.
    #[serde(default)]
    pub namespace_selector: LabelSelector,
    /// What becomes of the source address of their packets to services. It counts more than `masqueradeAll` and than what a service's
    /// traffic policy says, and less than `excludeDestinationCIDRs`. A pod that reaches itself is masqueraded in any case.
    pub action: PodAction,
    /// Which of the node's addresses become the source; with `action: SNAT` and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snat: Option<ClassAddresses>,
    /// The class counts for packets that leave the node by this interface only; others are treated as those of a pod without a class. What
    /// another program translated then counts as a packet to a service too. Default: any interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = interface_name_rules()))]
    pub out_interface: Option<String>,
    /// The action counts also for the pods' traffic that is not to services, where it leaves the node towards addresses that are neither pods'
    /// nor services'. Pod addresses are those of the networks or interfaces of `detectLocal`, and of the node's `spec.podCIDRs`: `ClusterCIDR` tells
    /// those of the whole cluster. With `Preserve` no rule of another program changes the source of such traffic. Default: false.
    #[serde(default)]
    pub egress: bool,
    /// Tunables of the pods' own network namespaces, at most one a name. Default: none.
    #[serde(default)]
    #[schemars(length(max = MAX_SYSCTLS), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"],
    ))]
    pub sysctls: Vec<PodSysctl>,
}

/// What becomes of the source address of a pod's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PodAction {
    /// It stays.
    Preserve,
    /// The node's address takes its place, as `sourceNAT.snat` says.
    Masquerade,
    /// One of the node's addresses inside `snat.addressCIDRs` takes its place.
    SNAT,
}

/// Which of the node's addresses become the source of a class's connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClassAddresses {
    /// The node's own addresses inside these networks, at least one; several share the connections. A node without any masquerades, and says so
    /// in its status.
    #[serde(rename = "addressCIDRs")]
    #[schemars(schema_with = "addresses")]
    pub address_cidrs: Vec<Cidr>,
}

const RESERVED: &str = "sluice-";
const NO_NAME: &str = "is not a name of a class: use 1 to 63 lower-case letters, digits and dashes, the first and the last no dash";
const SNAT_MISSING: &str = "action SNAT needs it: add it";
const NO_ADDRESSES: &str =
    "the list is empty: add networks of the node's addresses, or change action to Masquerade";
/// Of a row before the last one.
const NEVER_COUNT: &str =
    "matches every pod, so the rows after it never count: make it the last one";

fn reserved() -> String {
    format!("starts with {RESERVED}, which is reserved: choose another name")
}

fn addresses(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = narrow_networks(generator);
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([required("", "self.size() > 0", says(NO_ADDRESSES))]),
    );
    schema
}

impl PodClass {
    fn name_rules() -> [Rule; 2] {
        let quoted = &["strings.quote(self)"];
        [
            rule(
                "",
                "self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",
                says_with(format_args!("%s {NO_NAME}"), quoted),
            ),
            rule(
                "",
                &format!("!self.startsWith({})", literal(RESERVED)),
                says_with(format_args!("%s {}", reserved()), quoted),
            ),
        ]
    }

    fn rules() -> [Rule; 2] {
        [
            required(
                ".snat",
                "self.action != 'SNAT' || has(self.snat)",
                says(SNAT_MISSING),
            ),
            forbidden(
                ".snat",
                "self.action == 'SNAT' || !has(self.snat)",
                says_with(
                    "it belongs to action SNAT, and action is %s: remove it, or change action",
                    &["self.action"],
                ),
            ),
        ]
    }

    /// Rules for the list.
    pub(super) fn list_rules() -> [Rule; 1] {
        let none = |list: &str| format!("(!has({list}) || {list}.size() == 0)");
        let all = |row: &str| {
            ["podSelector", "namespaceSelector"]
                .map(|selector| {
                    format!(
                        "{} && {}",
                        none(&format!("{row}.{selector}.matchLabels")),
                        none(&format!("{row}.{selector}.matchExpressions"))
                    )
                })
                .join(" && ")
        };
        [catch_all_last(
            all,
            says(format_args!("a row without selectors {NEVER_COUNT}")),
        )]
    }

    /// Matches a pod with these labels in a namespace with those.
    pub fn matches(
        &self,
        pod: &BTreeMap<String, String>,
        namespace: &BTreeMap<String, String>,
    ) -> bool {
        self.pod_selector.matches(pod) && self.namespace_selector.matches(namespace)
    }

    /// The same as the schema and the rules say of the list.
    pub(super) fn check_list(classes: &[Self], c: &mut Checker) {
        if classes.len() > MAX_CLASSES {
            c.field("podClasses", |c| {
                c.wrong(format!(
                    "{} classes are more than {MAX_CLASSES}: remove some",
                    classes.len()
                ));
            });
        }
        c.items("podClasses", classes, |c, class| class.check(c));
        c.unique_names("podClasses", classes, |class| &class.name);
        c.catch_all_last(
            "podClasses",
            classes,
            |class| class.pod_selector.is_everything() && class.namespace_selector.is_everything(),
            &format!("without selectors it {NEVER_COUNT}"),
        );
    }

    fn check(&self, c: &mut Checker) {
        c.field("name", |c| {
            if !is_name(&self.name) {
                c.wrong(format!("{:?} {NO_NAME}", self.name));
            } else if self.name.starts_with(RESERVED) {
                c.wrong(format!("{:?} {}", self.name, reserved()));
            }
        });
        c.field("podSelector", |c| self.pod_selector.check(c));
        c.field("namespaceSelector", |c| self.namespace_selector.check(c));
        c.field("snat", |c| match (&self.snat, self.action) {
            (None, PodAction::SNAT) => c.wrong(SNAT_MISSING),
            (Some(_), action @ (PodAction::Preserve | PodAction::Masquerade)) => {
                c.wrong(format!(
                    "it belongs to action SNAT, and action is {action:?}: remove it, or change action"
                ));
            }
            _ => {}
        });
        c.field("snat", |c| {
            if let Some(snat) = &self.snat {
                if snat.address_cidrs.is_empty() {
                    c.field("addressCIDRs", |c| c.wrong(NO_ADDRESSES));
                }
                check_networks("addressCIDRs", &snat.address_cidrs, c);
            }
        });
        c.field("outInterface", |c| {
            if let Some(interface) = &self.out_interface {
                check_interface_name(interface, c);
            }
        });
        c.items("sysctls", &self.sysctls, |c, sysctl| sysctl.check(c));
        c.unique_names("sysctls", &self.sysctls, |sysctl| &sysctl.name);
    }
}

fn is_name(name: &str) -> bool {
    let may_end = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(may_end)
        && bytes.last().is_some_and(may_end)
        && bytes.iter().all(|b| may_end(b) || *b == b'-')
}
