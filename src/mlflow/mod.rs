//! MLflow: a run on an MLflow server, by its REST interface.

mod artifacts;
mod client;
mod entries;

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use artifacts::{Model, NETWORK, served, text, upload_files};
use client::{Client, Refusal};
use entries::{IDENTITY, Metric, identity, measures, metrics, milliseconds, parameters, tags};

pub use client::Credentials;

use crate::clock;
use crate::error::Error;
use crate::export::{Format, bytes};
use crate::run::{Manifest, RunError, RunFolder};
use crate::session::{Status, Summary};
use crate::trained::{LoadOptions, Trained};

/// The most metrics in a request.
const METRICS: usize = 1000;
/// The most parameters or tags in a request.
const PARAMETERS: usize = 100;

/// Where a run goes.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The address of the server, such as `http://localhost:5000`.
    pub uri: String,
    /// The name of the experiment there, which is created if it is missing. `None`: the name in the config of the run.
    pub experiment: Option<String>,
    /// What is sent for authentication.
    pub credentials: Credentials,
}

/// A run on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The address of its page.
    pub page: String,
    /// The experiment there.
    pub experiment_id: String,
    /// The run there.
    pub run_id: String,
    /// Whether the run was there before.
    pub was_there: bool,
    /// The logged model. `None` if the run has no checkpoint, or the server no logged models.
    pub model_id: Option<String>,
    /// The number of metrics.
    pub metrics: usize,
    /// The number of parameters.
    pub parameters: usize,
    /// The uploaded files of the run.
    pub files: Vec<String>,
    /// What was not sent.
    pub warnings: Vec<String>,
}

/// Sends the run in `path` to a server. If it is there already, from an earlier export, it is updated.
///
/// # Errors
///
/// When `path` is not a run folder or a file in it is damaged, or the server can't be reached or refuses a request.
pub fn export(path: &Path, to: &Destination) -> Result<Exported, Error> {
    let client = Client::new(&to.uri, &to.credentials)?;
    let run = LocalRun::read(path)?;
    let experiment = run.experiment(&client, to.experiment.as_deref())?;
    let (remote, was_there) = run.find_or_create(&client, &experiment)?;
    let run_id = text(&remote["info"]["run_id"]);
    for parameters in run.parameters.chunks(PARAMETERS) {
        client.post("runs/log-batch", &json!({ "run_id": run_id, "params": parameters }))?;
    }
    client.post("runs/log-batch", &json!({ "run_id": run_id, "tags": run.tags() }))?;
    let mut exported = Exported {
        page: format!("{}/#/experiments/{experiment}/runs/{run_id}", client.uri()),
        experiment_id: experiment,
        run_id,
        was_there,
        model_id: None,
        metrics: 0,
        parameters: run.parameters.len(),
        files: Vec::new(),
        warnings: Vec::new(),
    };
    run.upload(&client, &remote, &mut exported)?;
    run.log_metrics(&client, &mut exported)?;
    client.post("runs/update", &run.ending(&exported.run_id))?;
    Ok(exported)
}

/// What is sent of a run folder.
struct LocalRun {
    folder: RunFolder,
    manifest: Manifest,
    summary: Option<Summary>,
    /// The name of the experiment.
    name: String,
    /// The start in seconds since 1970.
    started: f64,
    parameters: Vec<Value>,
    metrics: Vec<Metric>,
    /// The network and its epoch.
    network: Option<(Vec<u8>, u64)>,
}

impl LocalRun {
    fn read(path: &Path) -> Result<Self, Error> {
        let folder = RunFolder::open(path)?;
        let (manifest, summary, experiment) = (folder.manifest()?, folder.summary()?, folder.experiment(None)?);
        let metrics = metrics(&folder.metrics()?, manifest.penalties.as_deref().unwrap_or_default());
        let network = match Trained::open(path, &LoadOptions::default()) {
            Ok(trained) => {
                let epoch = trained.run().map_or(0, |run| run.state.epoch);
                Some((bytes(&trained, Format::Safetensors, Path::new(NETWORK))?, epoch))
            }
            Err(Error::Run(RunError::NoCheckpoint { .. })) => None,
            Err(error) => return Err(error),
        };
        let started = clock::seconds(&manifest.started).unwrap_or_default();
        let parameters = parameters(&experiment);
        Ok(Self { folder, manifest, summary, name: experiment.name, started, parameters, metrics, network })
    }

    /// The identifier of the experiment, which is created if it is missing.
    fn experiment(&self, client: &Client, name: Option<&str>) -> Result<String, Error> {
        let name = name.unwrap_or(&self.name);
        let found = match client.find("experiments/get-by-name", &[("experiment_name", name)]) {
            Ok(found) => found["experiment"].clone(),
            Err(Refusal::Missing) => {
                let created = client.post("experiments/create", &json!({ "name": name }))?;
                return Ok(text(&created["experiment_id"]));
            }
            Err(Refusal::Other(error)) => return Err(error),
        };
        if found["lifecycle_stage"] == "deleted" {
            let problem = format!("has deleted the experiment `{name}`; restore it there, or name another one with `--experiment`");
            return Err(Error::Server { uri: client.uri().to_owned(), problem });
        }
        Ok(text(&found["experiment_id"]))
    }

    /// The run there, and whether it was there before.
    fn find_or_create(&self, client: &Client, experiment: &str) -> Result<(Value, bool), Error> {
        let filter = format!("tags.`{IDENTITY}` = '{}'", identity(&self.manifest));
        let found = client.post("runs/search", &json!({ "experiment_ids": [experiment], "filter": filter, "max_results": 1 }))?;
        if let Some(run) = found["runs"].as_array().and_then(|runs| runs.first()) {
            return Ok((run.clone(), true));
        }
        let path = self.folder.path();
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = path.file_name().map_or_else(|| self.name.clone(), |name| name.to_string_lossy().into_owned());
        let request =
            json!({ "experiment_id": experiment, "run_name": name, "start_time": milliseconds(self.started), "tags": self.tags() });
        Ok((client.post("runs/create", &request)?["run"].clone(), false))
    }

    fn tags(&self) -> Vec<Value> {
        tags(&self.manifest, self.summary.as_ref())
    }

    /// Uploads the files and the network, and logs the model.
    fn upload(&self, client: &Client, remote: &Value, exported: &mut Exported) -> Result<(), Error> {
        let address = text(&remote["info"]["artifact_uri"]);
        let Some(folder) = served(&address) else {
            let problem = format!(
                "the server stores files at `{address}` and does not take them itself: none were uploaded; it does with `mlflow server --serve-artifacts`"
            );
            exported.warnings.push(problem);
            return Ok(());
        };
        let files = upload_files(client, self.folder.path(), &folder)?;
        exported.files = files.into_iter().map(str::to_owned).collect();
        let Some((network, epoch)) = &self.network else {
            exported.warnings.push("the run has no checkpoint, so that no network was uploaded".to_owned());
            return Ok(());
        };
        client.upload(&format!("{folder}/{NETWORK}"), "application/octet-stream", network)?;
        exported.files.push(NETWORK.to_owned());
        let model = Model {
            experiment: &exported.experiment_id,
            run: &exported.run_id,
            earlier: remote["outputs"]["model_outputs"][0]["model_id"].as_str().map(str::to_owned),
            parameters: &self.parameters,
            network,
            version: &self.manifest.version,
            epoch: *epoch,
        };
        exported.model_id = model.log(client)?;
        Ok(())
    }

    /// Sends the metrics of all epochs, and those of the kept network, which are the model's, too. MLflow leaves out what it has already.
    fn log_metrics(&self, client: &Client, exported: &mut Exported) -> Result<(), Error> {
        let mut all: Vec<Value> = self.metrics.iter().map(|metric| metric.json(self.started)).collect();
        let epoch = self.network.as_ref().map_or(0, |(_, epoch)| *epoch);
        for metric in self.summary.iter().flat_map(|summary| measures(summary, epoch)) {
            let mut metric = metric.json(self.started);
            exported.model_id.iter().for_each(|model| metric["model_id"] = json!(model));
            all.push(metric);
        }
        for metrics in all.chunks(METRICS) {
            client.post("runs/log-batch", &json!({ "run_id": exported.run_id, "metrics": metrics }))?;
        }
        exported.metrics = all.len();
        Ok(())
    }

    /// Status and end of the run.
    fn ending(&self, run_id: &str) -> Value {
        let Some(summary) = &self.summary else { return json!({ "run_id": run_id, "status": "RUNNING" }) };
        let status = match summary.status {
            Status::Completed | Status::EarlyStopped => "FINISHED",
            Status::Diverged => "FAILED",
            Status::Interrupted => "KILLED",
        };
        json!({ "run_id": run_id, "status": status, "end_time": milliseconds(self.started + summary.seconds) })
    }
}
