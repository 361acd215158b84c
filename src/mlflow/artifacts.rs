//! The files of a run in MLflow, and its network as a logged model.

use std::path::Path;

use serde_json::{Value, json};

use super::client::{Client, Refusal};
use crate::clock;
use crate::error::Error;
use crate::run::RunError;

/// The files of a run folder that are uploaded, with their content types.
const FILES: [(&str, &str); 6] = [
    ("config.toml", "text/plain"),
    ("manifest.json", "application/json"),
    ("metrics.jsonl", "text/plain"),
    ("evaluation.json", "application/json"),
    ("summary.json", "application/json"),
    ("report.html", "text/html"),
];

/// The name of the network's file.
pub(super) const NETWORK: &str = "model.safetensors";

/// A folder of files that the server stores, from an address such as `mlflow-artifacts:/1/abc/artifacts`. Returns `None` if the server does not take files for it.
pub(super) fn served(address: &str) -> Option<String> {
    let path = address.strip_prefix("mlflow-artifacts:")?;
    // With two slashes a host follows.
    let path = path.strip_prefix("//").map_or(path, |rest| rest.split_once('/').map_or("", |(_, path)| path));
    Some(path.trim_matches('/').to_owned())
}

/// Uploads the files that a run folder has. Returns their names.
pub(super) fn upload_files(client: &Client, run: &Path, folder: &str) -> Result<Vec<&'static str>, Error> {
    let mut uploaded = Vec::new();
    for (name, content_type) in FILES {
        let path = run.join(name);
        if path.is_file() {
            let content = std::fs::read(&path).map_err(|source| RunError::Read { path, source })?;
            client.upload(&format!("{folder}/{name}"), content_type, &content)?;
            uploaded.push(name);
        }
    }
    Ok(uploaded)
}

/// The network of a run.
pub(super) struct Model<'a> {
    pub(super) experiment: &'a str,
    pub(super) run: &'a str,
    /// The logged model of an earlier export, if there is one.
    pub(super) earlier: Option<String>,
    pub(super) parameters: &'a [Value],
    /// The content of the file.
    pub(super) network: &'a [u8],
    pub(super) version: &'a str,
    /// The epoch of the network.
    pub(super) epoch: u64,
}

impl Model<'_> {
    /// Makes or updates the logged model. Returns its identifier, or `None` if the server has no logged models, which came with MLflow 3.
    pub(super) fn log(&self, client: &Client) -> Result<Option<String>, Error> {
        let Some((model, is_new)) = self.create_or_find(client)? else { return Ok(None) };
        let id = text(&model["info"]["model_id"]);
        if let Some(folder) = served(&text(&model["info"]["artifact_uri"])) {
            client.upload(&format!("{folder}/{NETWORK}"), "application/octet-stream", self.network)?;
            client.upload(&format!("{folder}/MLmodel"), "text/plain", self.description(&id).as_bytes())?;
        }
        if is_new {
            client.patch(&format!("logged-models/{id}"), &json!({ "model_id": id, "status": "LOGGED_MODEL_READY" }))?;
            client.post("runs/outputs", &json!({ "run_id": self.run, "models": [{ "model_id": id, "step": self.epoch }] }))?;
        }
        Ok(Some(id))
    }

    /// The model of an earlier export, or a new one, and whether it is new. Returns `None` if the server has no logged models.
    fn create_or_find(&self, client: &Client) -> Result<Option<(Value, bool)>, Error> {
        if let Some(id) = &self.earlier {
            match client.find(&format!("logged-models/{id}"), &[]) {
                Ok(answer) => return Ok(Some((answer["model"].clone(), false))),
                // Someone has deleted it.
                Err(Refusal::Missing) => {}
                Err(Refusal::Other(error)) => return Err(error),
            }
        }
        let request = json!({
            "experiment_id": self.experiment,
            "name": "network",
            "source_run_id": self.run,
            "params": self.parameters,
        });
        match client.try_post("logged-models", &request) {
            Ok(answer) => Ok(Some((answer["model"].clone(), true))),
            Err(Refusal::Missing) => Ok(None),
            Err(Refusal::Other(error)) => Err(error),
        }
    }

    /// The file `MLmodel`, which says what the others are.
    fn description(&self, id: &str) -> String {
        let Self { run, version, .. } = self;
        // JSON is YAML.
        let description = json!({
            "flavors": { "regulus": { "regulus_version": version, "data": NETWORK } },
            "model_id": id,
            "run_id": run,
            "utc_time_created": clock::now().replace('T', " ").trim_end_matches('Z'),
        });
        serde_json::to_string_pretty(&description).unwrap_or_default() + "\n"
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::served;

    #[test]
    fn only_files_behind_the_server_are_uploaded() {
        assert_eq!(served("mlflow-artifacts:/1/abc/artifacts").as_deref(), Some("1/abc/artifacts"));
        assert_eq!(served("mlflow-artifacts://host:5000/1/abc/artifacts").as_deref(), Some("1/abc/artifacts"));
        assert_eq!((served("s3://bucket/1/abc"), served("/mlruns/1/abc/artifacts")), (None, None));
    }
}
