//! Edge: what InfluxDB 2 alone can be asked, by the crate influxdb2.
//!
//! Its tree is old, so it gets a client that speaks HTTP/1 only and follows no redirects, with the
//! system's TLS. It is used by the command line, never by the resident exporter: it panics over some
//! answers that are not what InfluxDB sends, and reads answers of any size.

use influxdb2::api::buckets::ListBucketsRequest;
use influxdb2::api::query::FluxRecord;
use influxdb2::models::Query;
use influxdb2::models::health::Status;
use influxdb2::{Client, ClientBuilder, RequestError};

use fallible_iterator::FallibleIterator;

use crate::push::client::tls;
use crate::push::config::{InfluxConfig, Version};
use crate::push::credential::Credential;

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum V2Error {
    /// The client can not be made.
    #[error("the client can not be made: {0}")]
    Build(String),
    /// An answer of HTTP that says no.
    #[error("{0}: {1}")]
    Http(u16, String),
    /// No answer, or none that can be read.
    #[error("{0}")]
    Other(String),
}

/// A client for InfluxDB 2.
pub fn client(config: &InfluxConfig, organization: &str, token: &Credential) -> Result<Client, V2Error> {
    let built = |error: &dyn std::fmt::Display| V2Error::Build(error.to_string());
    let mut http = reqwest::ClientBuilder::new()
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(config.server.timeout);
    for block in tls::pem_blocks(config.server.ca_file.as_deref()).map_err(|error| built(&error))? {
        let certificate = reqwest::Certificate::from_pem(block.as_bytes()).map_err(|error| built(&error))?;
        http = http.add_root_certificate(certificate);
    }
    let token = token.read().map_err(|error| built(&error))?;
    ClientBuilder::with_builder(http, config.server.url(), organization, token.expose())
        .build()
        .map_err(|error| built(&error))
}

/// Whether the server says that it is well, and its own words if not.
pub async fn health(client: Client) -> Result<Option<String>, V2Error> {
    let health = guarded(async move { client.health().await }).await?;
    Ok((health.status == Status::Fail).then(|| {
        backup_common::text::clean(&health.message.unwrap_or_else(|| "it says fail".to_owned()), 200)
    }))
}

/// Whether there is a bucket of this name that the token may see.
pub async fn has_bucket(client: Client, bucket: String) -> Result<bool, V2Error> {
    let request = ListBucketsRequest {
        after: None,
        id: None,
        limit: None,
        name: Some(bucket.clone()),
        offset: None,
        org: Some(client.org.clone()),
        org_id: None,
    };
    let found = guarded(async move { client.list_buckets(Some(request)).await }).await?;
    Ok(found.buckets.iter().any(|one| one.name == bucket))
}

/// The records of a Flux query.
pub async fn flux(client: Client, query: String) -> Result<Vec<FluxRecord>, V2Error> {
    guarded(async move {
        let tables = client.query_raw_iter(Some(Query::new(query))).await?;
        tables.result().collect::<Vec<_>>()
    })
    .await
}

/// A panic of the crate becomes an error, and says nothing on the terminal.
async fn guarded<T: Send + 'static>(
    work: impl Future<Output = Result<T, RequestError>> + Send + 'static,
) -> Result<T, V2Error> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = tokio::spawn(work).await;
    std::panic::set_hook(hook);
    let clean = |text: &str| backup_common::text::clean(text.trim(), backup_common::text::MESSAGE_BYTES);
    result.map_err(|_| V2Error::Other("the answer is not one of InfluxDB 2".to_owned()))?.map_err(|error| {
        match error {
            RequestError::Http { status, text } => V2Error::Http(status.as_u16(), clean(&text)),
            other => V2Error::Other(clean(&other.to_string())),
        }
    })
}

/// Whether the crate is the one to ask.
pub fn is_spoken(version: Version) -> bool {
    version == Version::V2
}
