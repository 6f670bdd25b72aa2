//! The definitions of the API group as files.

use serde_json::Value;
use sluice_crds::v1alpha1::definitions;

/// Folder of the files, as a path from the folder of this crate.
pub(crate) const FOLDER: &str = "../charts/sluice/files/crds";

const HEAD: &str = "# Made by `make crds` from the types in crds/src. Change those.\n";

/// Name and text of each file.
pub(crate) fn files() -> Result<Vec<(String, String)>, Box<dyn std::error::Error>> {
    definitions()
        .into_iter()
        .map(|crd| {
            let name = format!("{}.yaml", crd.spec.names.plural);
            let mut value = serde_json::to_value(crd)?;
            whole_numbers(&mut value);
            let options =
                serde_saphyr::ser_options! { folded_wrap_chars: 140, compact_list_indent: true };
            let text = serde_saphyr::to_string_with_options(&value, options)?;
            Ok((name, format!("{HEAD}{text}")))
        })
        .collect()
}

/// Bounds are floating point numbers to the type of a definition; 1 reads better than 1.0.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|f| f.fract() == 0.0)
                .and_then(|f| format!("{f:.0}").parse::<i64>().ok());
            if let Some(whole) = whole {
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
