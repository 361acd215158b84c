//! `regulus backends`.

use serde_json::json;

use super::print;
use crate::backend::{device_names, needs};
use crate::config::BackendKind;
use crate::error::Error;

pub(super) fn backends(json: bool) -> Result<(), Error> {
    for kind in BackendKind::ALL {
        let devices = device_names(kind);
        let name = kind.name();
        if json {
            let built = devices.is_some();
            print::json(&json!({ "backend": name, "built": built, "devices": devices.unwrap_or_default(), "needs": needs(kind) }))?;
            continue;
        }
        match devices {
            None => print::out(format_args!("{name:8} not in this build; rebuild with `cargo build --release --features {name}`"))?,
            Some(devices) if devices.is_empty() => print::out(format_args!("{name:8} no device; needs {}", needs(kind)))?,
            Some(devices) => {
                for (index, device) in devices.iter().enumerate() {
                    print::out(format_args!("{name:8} device {index}: {device}"))?;
                }
            }
        }
    }
    Ok(())
}
