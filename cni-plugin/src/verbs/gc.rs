//! GC (CNI specification 1.1.0, section 2): what no valid attachment of this network holds is given back.

use std::collections::BTreeSet;
use std::io::Write;

use sluice_attachment::protocol::Detached;
use sluice_attachment::store::Store;

use super::{STORE_PATIENCE, kernel_sets};
use crate::cni::CniError;
use crate::conf::{Conf, SourceNat};
use crate::{decision, membership};

pub(crate) fn gc(conf: &Conf, log: &mut dyn Write) -> Result<(), CniError> {
    let valid: BTreeSet<_> = conf.valid_attachments()?.into_iter().collect();
    if !conf.state_directory.exists() {
        return Ok(());
    }
    let store = Store::open(&conf.state_directory)?;
    let mut gone = Vec::new();
    {
        let locked = store.lock(STORE_PATIENCE)?;
        let mut listing = locked.list()?;
        for corrupt in &listing.corrupt {
            let (path, reason) = (corrupt.path.display(), &corrupt.reason);
            let _ = writeln!(log, "sluice-cni: {path} is removed: {reason}");
        }
        if let Some(error) = listing.disagreement.take() {
            let _ = writeln!(log, "sluice-cni: {}", CniError::from(error));
        }
        let mut names: BTreeSet<_> = (listing.records.iter())
            .flat_map(|record| record.treatment.sets.iter().cloned())
            .collect();
        names.extend(SourceNat::Preserve.sets());
        names.extend(SourceNat::Masquerade.sets());
        // Attachments of other networks are known to their own configuration.
        let (stale, kept): (Vec<_>, Vec<_>) = (listing.records.into_iter())
            .partition(|record| record.network == conf.name && !valid.contains(&record.id));
        for record in stale {
            membership::leave(&locked, &record, &mut kernel_sets)?;
            gone.push(record.id);
        }
        membership::sweep(&kept, &names, &mut kernel_sets)?;
        locked.sweep()?;
    }
    for id in gone {
        decision::tell_detached(conf, Detached { id });
    }
    Ok(())
}
