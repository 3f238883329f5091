//! Outputs turn the state into text; they know neither inputs nor the time.
//!
//! To add one:
//! 1. write a file here with one pure function from [`State`](crate::state::State) to text;
//! 2. if it shows metrics, read them through [`crate::catalogue`], so that names stand in one place;
//! 3. give it a route in [`crate::http::routes`], or a task in [`crate::serve`].

pub mod gzip;
pub mod influx;
pub mod kept;
pub mod labels;
pub mod metrics;
pub mod page;
pub mod scrape;
pub mod status_json;
pub mod text_format;
pub mod verdict;
