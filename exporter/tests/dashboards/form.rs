//! Boards are valid by Grafana's own types, and keep the rules of grafana/dashboard-linter.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::board::{BOARDS, directory, panels, read, variables};

#[test]
fn boards_are_valid_by_the_types_of_grafana() {
    let text = fs::read_to_string(directory().join("schema/grafana.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let check = |definition: &str, value: &Value, place: &str| {
        let mut part = schema.clone();
        part["$ref"] = json!(format!("#/definitions/{definition}"));
        let validator = jsonschema::validator_for(&part).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(value)
            .map(|error| format!("{place} {}: {error}", error.instance_path))
            .collect();
        assert!(errors.is_empty(), "{}", errors.join("\n"));
    };
    for name in BOARDS {
        let mut board = read(name);
        for panel in panels(&board) {
            let definition = match panel["type"].as_str().unwrap() {
                "row" => "RowOfBoard",
                "stat" => "StatOfBoard",
                "table" => "TableOfBoard",
                "timeseries" => "SeriesOfBoard",
                "state-timeline" => "StatesOfBoard",
                "text" => "TextOfBoard",
                other => panic!("{name}: add {other} to dashboards/schema/board.ts"),
            };
            check(definition, panel, &format!("{name} {}", panel["title"]));
        }
        board["panels"] = json!([]);
        check("Board", &board, name);
    }
}

#[test]
fn boards_keep_the_rules_of_the_linter() {
    for name in BOARDS {
        let board = read(name);
        assert_eq!(board["uid"].as_str(), name.strip_suffix(".json"), "links hang on a uid that stays");
        let kind = board["uid"].as_str().unwrap().trim_start_matches("backup-");
        let source = json!({"type": kind, "uid": "${datasource}"});
        for variable in variables(&board) {
            let known = variable["type"] == "datasource" || variable["datasource"] == source;
            assert!(known && variable["label"].is_string(), "{name}: {variable}");
        }
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in panels(&board) {
            let place = format!("{name}: {}", panel["title"]);
            assert!(!panel["title"].as_str().unwrap().is_empty(), "{place}");
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{place}: its id is not its own");
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{place} is too wide");
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{place} lies over another");
                }
            }
            if panel["type"] == "row" {
                continue;
            }
            assert!(!panel["description"].as_str().unwrap().is_empty(), "{place}");
            if panel["type"] == "text" {
                continue;
            }
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{place} has no unit");
            assert_eq!(panel["datasource"], source, "{place}");
            for target in panel["targets"].as_array().unwrap() {
                assert_eq!(target["datasource"], source, "{place}");
                let text = target["expr"].as_str().unwrap_or_default();
                let fixed = text.contains("rate(") && !text.contains("[$__rate_interval]");
                assert!(!fixed, "{place}: rate over $__rate_interval");
            }
        }
    }
}
