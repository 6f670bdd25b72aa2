//! Which variant and mode are to be used: what the settings ask, and what of it this node could not take. Pure.

use sluice_api_access::with_causes;
use sluice_crds::v1alpha1::{ActiveMode, IptablesVariant, Mode};
use sluice_kernel::iptables::Variant;

use super::PlaneError;

/// A mode that failed so often, while what serves could be written, is one that this node cannot run.
const MOST_TRIES: u32 = 10;

/// A mode that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedMode {
    /// Which.
    pub mode: ActiveMode,
    /// Why not.
    pub reason: String,
}

/// A variant that could not be taken, and why.
#[derive(Debug)]
struct RefusedVariant {
    variant: Variant,
    reason: String,
}

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The iptables variant, to this one.
    Variant(Variant),
    /// The mode, to this one.
    Mode(ActiveMode),
}

/// A switch that failed for a reason that may pass. What served before serves on.
#[derive(Debug)]
pub(in crate::agent) struct PutOff {
    change: Change,
    /// How often it failed, while what serves could be written.
    pub(in crate::agent) tries: u32,
    /// Why, the last time.
    pub(in crate::agent) error: PlaneError,
}

/// What is wanted, and what was tried in vain.
#[derive(Debug)]
pub(in crate::agent) struct Choice {
    variant: IptablesVariant,
    asked_mode: Mode,
    mode: ActiveMode,
    /// What could not be taken; not tried again until [`try_again`](Self::try_again).
    refused_variant: Option<RefusedVariant>,
    refused_mode: Option<RefusedMode>,
    /// Not tried again until [`switch_again`](Self::switch_again).
    put_off: Option<PutOff>,
    is_switch_due: bool,
    /// Attempts to start with IPVS that it failed.
    failed_starts: u32,
}

impl Default for Choice {
    /// What a node uses already, in iptables mode.
    fn default() -> Self {
        Self {
            variant: IptablesVariant::Auto,
            asked_mode: Mode::IPTables,
            mode: ActiveMode::IPTables,
            refused_variant: None,
            refused_mode: None,
            put_off: None,
            is_switch_due: false,
            failed_starts: 0,
        }
    }
}

impl Choice {
    /// Says which variant and which mode to use from the next sync on; `asked` is what the settings say, `mode` what that means now.
    pub(in crate::agent) fn want(
        &mut self,
        variant: IptablesVariant,
        asked: Mode,
        mode: ActiveMode,
    ) {
        if self.variant != variant {
            self.variant = variant;
            self.refused_variant = None;
            self.put_off = None;
        }
        if self.asked_mode != asked {
            self.asked_mode = asked;
            self.refused_mode = None;
        }
        if self.mode != mode {
            self.mode = mode;
            self.put_off = None;
        }
    }

    /// Forgets what could not be taken, so that the next sync tries again.
    pub(in crate::agent) fn try_again(&mut self) {
        self.refused_variant = None;
        self.refused_mode = None;
        self.put_off = None;
    }

    /// The variant that is asked for; none leaves it to what the node uses already.
    pub(super) fn variant(&self) -> Option<Variant> {
        match self.variant {
            IptablesVariant::Auto => None,
            IptablesVariant::Legacy => Some(Variant::Legacy),
            IptablesVariant::NFT => Some(Variant::Nft),
        }
    }

    /// The same, unless it could not be taken.
    pub(super) fn variant_to_start(&self) -> Option<Variant> {
        let is_free = |variant: &Variant| !self.has_refused_variant(*variant);
        self.variant().filter(is_free)
    }

    /// The variant to change to.
    pub(super) fn next_variant(&self, current: Variant) -> Option<Variant> {
        let is_resting = |put_off: &PutOff| matches!(put_off.change, Change::Variant(_));
        if !self.is_switch_due && self.put_off.as_ref().is_some_and(is_resting) {
            return None;
        }
        self.variant_to_start().filter(|wanted| *wanted != current)
    }

    /// The variant could not be taken.
    pub(super) fn refuse_variant(&mut self, variant: Variant, reason: String) {
        tracing::error!(%variant, reason, "iptables variant not taken: another one serves");
        self.put_off = None;
        self.refused_variant = Some(RefusedVariant { variant, reason });
    }

    /// The variant was tried and this node could not take it.
    pub(super) fn has_refused_variant(&self, variant: Variant) -> bool {
        let refused = self.refused_variant.as_ref();
        refused.is_some_and(|refused| refused.variant == variant)
    }

    /// The mode that the next sync will bring about.
    pub(super) fn mode_to_be(&self, serving: Option<ActiveMode>) -> ActiveMode {
        if self.has_refused(self.mode) {
            serving.unwrap_or(ActiveMode::IPTables)
        } else {
            self.mode
        }
    }

    /// The mode to change to.
    pub(super) fn next_mode(&self, serving: ActiveMode) -> Option<ActiveMode> {
        let wanted = self.mode_to_be(Some(serving));
        (wanted != serving && !self.is_switch_resting()).then_some(wanted)
    }

    /// Says that this node cannot run a mode, and why.
    pub(in crate::agent) fn refuse(&mut self, mode: ActiveMode, reason: String) {
        tracing::warn!(%mode, reason, "this node cannot run the mode: what serves now goes on");
        self.put_off = None;
        self.refused_mode = Some(RefusedMode { mode, reason });
    }

    /// Nothing speaks against the mode after all.
    pub(super) fn allow_mode(&mut self) {
        self.refused_mode = None;
    }

    /// The mode was tried and this node could not run it.
    pub(in crate::agent) fn has_refused(&self, mode: ActiveMode) -> bool {
        let refused = self.refused_mode.as_ref();
        refused.is_some_and(|refused| refused.mode == mode)
    }

    /// The mode that was tried last and that this node cannot run.
    pub(in crate::agent) fn refused_mode(&self) -> Option<&RefusedMode> {
        self.refused_mode.as_ref()
    }

    /// The switch that failed and is to be made again.
    pub(in crate::agent) fn put_off(&self) -> Option<&PutOff> {
        self.put_off.as_ref()
    }

    /// The next sync makes the switch that was put off.
    pub(in crate::agent) fn switch_again(&mut self) {
        self.is_switch_due = true;
    }

    /// A switch was put off, and its time has not come.
    pub(super) fn is_switch_resting(&self) -> bool {
        self.put_off.is_some() && !self.is_switch_due
    }

    /// The switch is made.
    pub(super) fn switched(&mut self, change: Change) {
        self.put_off.take_if(|put_off| put_off.change == change);
        self.is_switch_due = false;
    }

    /// The switch failed for a reason that may pass. It [counts](Self::count_try) where what serves could be written nevertheless.
    pub(super) fn put_off_switch(&mut self, change: Change, error: PlaneError) {
        let before = self.put_off.take();
        let same = before.filter(|put_off| put_off.change == change);
        self.put_off = Some(PutOff {
            change,
            tries: same.map_or(0, |put_off| put_off.tries),
            error,
        });
        self.is_switch_due = false;
    }

    /// A try of the switch that was put off counts; one too many is a refusal.
    pub(super) fn count_try(&mut self) {
        let Some(put_off) = &mut self.put_off else {
            return;
        };
        put_off.tries += 1;
        if put_off.tries >= MOST_TRIES {
            let reason = with_causes(&put_off.error);
            match put_off.change {
                Change::Variant(variant) => self.refuse_variant(variant, reason),
                Change::Mode(mode) => self.refuse(mode, reason),
            }
        }
    }

    /// Nothing could be started in IPVS mode. Returns whether that was one time too many: rather another mode than none.
    pub(super) fn gives_up_starting(&mut self) -> bool {
        self.failed_starts += 1;
        self.failed_starts >= MOST_TRIES
    }

    /// What is done otherwise than the settings ask, in sentences.
    pub(super) fn conditions(&self, serving: Option<ActiveMode>) -> Vec<String> {
        let mut conditions = Vec::new();
        if let Some(RefusedMode { mode, reason }) = &self.refused_mode
            && *mode == self.mode
        {
            let serving = self.mode_to_be(serving);
            conditions.push(format!(
                "the node cannot run mode {mode}, {serving} serves: {reason}"
            ));
        }
        if let Some(RefusedVariant { variant, reason }) = &self.refused_variant {
            conditions.push(format!(
                "the node cannot use the iptables variant {variant}, the other one serves: {reason}"
            ));
        }
        conditions
    }
}
