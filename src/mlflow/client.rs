//! Requests to an MLflow server.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

use crate::error::Error;

/// The longest answer that is quoted.
const QUOTED: usize = 300;

/// A server, by its address.
pub(super) struct Client {
    uri: String,
    agent: Agent,
    /// The value of the header `Authorization`.
    authorization: Option<String>,
}

/// What is sent for authentication, as MLflow's own client takes it from the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `MLFLOW_TRACKING_USERNAME`.
    pub username: Option<String>,
    /// `MLFLOW_TRACKING_PASSWORD`.
    pub password: Option<String>,
    /// `MLFLOW_TRACKING_TOKEN`, which is used if there is no user name and password.
    pub token: Option<String>,
}

impl Credentials {
    /// Those in the environment.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            username: variable("MLFLOW_TRACKING_USERNAME"),
            password: variable("MLFLOW_TRACKING_PASSWORD"),
            token: variable("MLFLOW_TRACKING_TOKEN"),
        }
    }

    fn header(&self) -> Option<String> {
        match (&self.username, &self.password, &self.token) {
            (Some(username), Some(password), _) => Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))),
            (_, _, Some(token)) => Some(format!("Bearer {token}")),
            _ => None,
        }
    }
}

/// Why a request was not answered as expected.
pub(super) enum Refusal {
    /// The server has no such thing, or does not know the request.
    Missing,
    /// Another problem.
    Other(Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing => unreachable!("requests for what may be missing handle that"),
            Refusal::Other(error) => error,
        }
    }
}

impl Client {
    /// A client of the server at `uri`.
    ///
    /// # Errors
    ///
    /// When it is not the address of a server.
    pub(super) fn new(uri: &str, credentials: &Credentials) -> Result<Self, Error> {
        let parsed =
            uri.parse::<Uri>().ok().filter(|parsed| matches!(parsed.scheme_str(), Some("http" | "https")) && parsed.host().is_some());
        if parsed.is_none() {
            let problem = format!("`{uri}` is not the address of an MLflow server; expected one such as `http://localhost:5000`");
            return Err(Error::Usage(problem));
        }
        let agent = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_mins(2)))
            .http_status_as_error(false)
            .build()
            .into();
        Ok(Self { uri: uri.trim_end_matches('/').to_owned(), agent, authorization: credentials.header() })
    }

    /// The address of the server.
    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    /// Asks for something that may be missing.
    pub(super) fn find(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Refusal> {
        let mut request = self.agent.get(self.api(path));
        for (key, value) in query {
            request = request.query(*key, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        self.answer(request.call())
    }

    /// Sends an object.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.try_post(path, body).map_err(|refusal| self.expected(path, refusal))
    }

    /// Sends an object to a path that the server may not know.
    pub(super) fn try_post(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        self.send(self.agent.post(self.api(path)), "application/json", body.to_string().as_bytes())
    }

    /// Changes something.
    pub(super) fn patch(&self, path: &str, body: &Value) -> Result<Value, Error> {
        let answer = self.send(self.agent.patch(self.api(path)), "application/json", body.to_string().as_bytes());
        answer.map_err(|refusal| self.expected(path, refusal))
    }

    /// Uploads a file to `path`, whose parts must not need an escape in a URL.
    pub(super) fn upload(&self, path: &str, content_type: &str, content: &[u8]) -> Result<(), Error> {
        let url = format!("{}/api/2.0/mlflow-artifacts/artifacts/{path}", self.uri);
        let answer = self.send(self.agent.put(url), content_type, content);
        answer.map(|_| ()).map_err(|refusal| self.expected("mlflow-artifacts", refusal))
    }

    fn api(&self, path: &str) -> String {
        format!("{}/api/2.0/mlflow/{path}", self.uri)
    }

    fn send(&self, request: ureq::RequestBuilder<ureq::typestate::WithBody>, content_type: &str, body: &[u8]) -> Result<Value, Refusal> {
        let mut request = request.header("Content-Type", content_type);
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        self.answer(request.send(body))
    }

    fn answer(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Value, Refusal> {
        let mut response = answer.map_err(|error| {
            self.problem(format!("can't be reached: {error}; check that it runs, and `--uri` or `MLFLOW_TRACKING_URI`"))
        })?;
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(|error| self.problem(format!("broke off its answer: {error}")))?;
        let json: Option<Value> = if text.trim().is_empty() { Some(Value::Null) } else { serde_json::from_str(&text).ok() };
        match (status, json) {
            (200..=299, Some(json)) => Ok(json),
            (200..=299, None) => Err(self.problem(format!("does not answer as MLflow does: {}", short(&text))).into()),
            (404, _) => Err(Refusal::Missing),
            (401, _) => {
                let hint = "set `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, or `MLFLOW_TRACKING_TOKEN`";
                Err(self.problem(format!("wants other credentials (status 401); {hint}")).into())
            }
            (_, json) => {
                let message = json.as_ref().and_then(|json| json["message"].as_str()).map_or_else(|| short(&text), short);
                Err(self.problem(format!("refused a request (status {status}): {message}")).into())
            }
        }
    }

    /// The error for a request that can't be refused as missing.
    fn expected(&self, path: &str, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Missing => self.problem(format!("does not know `{path}` (status 404); is this an MLflow server?")),
            Refusal::Other(error) => error,
        }
    }

    fn problem(&self, problem: String) -> Error {
        Error::Server { uri: self.uri.clone(), problem }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// The beginning of a text.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > QUOTED { line.chars().take(QUOTED).chain(['…']).collect() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_a_user_with_a_password_or_a_token() {
        let some = |text: &str| Some(text.to_owned());
        // RFC 7617: "Aladdin" with the password "open sesame".
        let user = Credentials { username: some("Aladdin"), password: some("open sesame"), token: some("t") };
        assert_eq!(user.header().as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(Credentials { password: None, ..user }.header().as_deref(), Some("Bearer t"));
        assert_eq!(Credentials::default().header(), None);
    }

    #[test]
    fn addresses_of_servers_alone_are_taken() {
        for uri in ["databricks", "sqlite:///mlflow.db", "./mlruns", "file:///mlruns", "http://"] {
            assert!(Client::new(uri, &Credentials::default()).is_err(), "{uri}");
        }
        assert_eq!(Client::new("https://example.org/mlflow/", &Credentials::default()).unwrap().uri(), "https://example.org/mlflow");
    }
}
