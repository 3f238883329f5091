//! A board as a file, and its queries as Grafana sends them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The directory of boards and rules.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("dashboards")
}

/// The files of the boards.
pub const BOARDS: [&str; 2] = ["backup-prometheus.json", "backup-influxdb.json"];

/// Reads a board.
pub fn read(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(directory().join(name)).unwrap()).unwrap()
}

/// A query with where it stands.
pub struct Query {
    /// Panel and letter, or the name of a variable.
    pub place: String,
    pub text: String,
}

/// The panels of a board.
pub fn panels(board: &Value) -> &[Value] {
    board["panels"].as_array().unwrap()
}

/// Every query of every panel, of the annotations and, if its text is one, of the variables; `key` is the name of
/// the text in a target.
pub fn queries(board: &Value, key: &str) -> Vec<Query> {
    let mut found = Vec::new();
    for panel in panels(board) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let place = format!("{} {}", panel["title"].as_str().unwrap(), target["refId"].as_str().unwrap());
            found.push(Query { place, text: target[key].as_str().unwrap().to_owned() });
        }
    }
    for annotation in board["annotations"]["list"].as_array().unwrap() {
        let place = format!("annotation {}", annotation["name"].as_str().unwrap());
        found.push(Query { place, text: annotation["target"][key].as_str().unwrap().to_owned() });
    }
    for variable in variables(board).filter(|variable| variable["type"] == "query") {
        let query = &variable["query"];
        let text = query.as_str().or(query["query"].as_str()).unwrap().to_owned();
        found.push(Query { place: format!("variable {}", variable["name"].as_str().unwrap()), text });
    }
    found
}

/// The variables of a board.
pub fn variables(board: &Value) -> impl Iterator<Item = &Value> {
    board["templating"]["list"].as_array().unwrap().iter()
}
