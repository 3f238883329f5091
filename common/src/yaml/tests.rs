use proptest::prelude::*;

use super::*;

fn errors(text: &str) -> Vec<String> {
    let mut problems = Problems::default();
    let root = parse(text, &mut problems);
    assert!(root.is_some() || !problems.errors.is_empty(), "nothing without a reason");
    problems.errors.iter().map(ToString::to_string).collect()
}

fn mapping(node: Node) -> Vec<(Key, Node)> {
    match node.value {
        Value::Mapping(entries) => entries,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_key_and_value_knows_its_line() {
    let mut problems = Problems::default();
    let root = parse("\u{feff}a: 1\r\n\r\nb:\r\n  - x\r\n  - 'y'\r\n", &mut problems).unwrap();
    assert_eq!(problems, Problems::default());
    let entries = mapping(root);
    assert_eq!(entries[1].0, Key { text: "b".to_owned(), line: 3 });
    let Value::Sequence(items) = &entries[1].1.value else { panic!() };
    assert_eq!(items[1], Node { line: 5, value: Value::Scalar { text: "y".to_owned(), plain: false } });
}

#[test]
fn a_duplicate_key_is_an_error() {
    let found = errors("hosts:\n  a: 1\n  b: 2\n  a: 3\n");
    assert_eq!(
        found,
        [
            "line 4: hosts.a: stands here for the second time; the first is on line 2, and only one of them would count"
        ]
    );
}

#[test]
fn a_duplicate_key_has_its_whole_path() {
    let found = errors("h:\n  paths:\n  - {path: /a}\n  - {path: /b, path: /c}\n");
    assert!(found[0].starts_with("line 4: h.paths[1].path: stands here"), "{found:?}");
}

#[test]
fn aliases_and_merges_are_read() {
    let mut problems = Problems::default();
    let root = parse("base: &b {x: 1, y: 2}\nhost:\n  <<: *b\n  y: 3\n", &mut problems).unwrap();
    let host = mapping(mapping(root).remove(1).1);
    let keys: Vec<_> = host.iter().map(|(key, _)| key.text.as_str()).collect();
    assert_eq!(keys, ["y", "x"]);
    assert!(matches!(&host[0].1.value, Value::Scalar { text, .. } if text == "3"));
}

#[test]
fn hostile_files_end_with_a_reason() {
    let bomb = (1..10).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        format!("{text}a{level}: &a{level} [{items}]\n")
    });
    assert!(errors(&bomb)[0].contains("too many values"));
    assert!(errors(&"[".repeat(100_000))[0].starts_with("line 1: "));
    let steps = (0..100).fold(String::new(), |text, level| text + &" ".repeat(level) + "a:\n");
    assert_eq!(errors(&steps), ["line 65: nested too deeply"]);
    assert!(errors("a: 1\n---\na: 2\n")[0].contains("second document"));
    assert!(errors("")[0].contains("empty"));
    assert!(errors("# nothing\n")[0].contains("empty"));
    assert!(
        errors("a:\n\tb: 1\n")[0].starts_with("line 2: this is not YAML"),
        "{:?}",
        errors("a:\n\tb: 1\n")
    );
    assert!(errors("? [a]\n: 1\n")[0].contains("a key must be a single value"));
    assert!(errors("a: &a [*a]\n")[0].starts_with("line 1"));
}

/// Reads the entries of `b` one by one, and puts them back into what is left.
fn taken_apart(text: &str, problems: &mut Problems) -> (Option<Node>, usize) {
    let mut reader = Reader::new(text, Some("b"));
    let mut taken = Vec::new();
    if reader.reach_block() {
        while let Some(entry) = reader.next_entry() {
            taken.push(entry);
        }
    }
    let count = taken.len();
    let mut root = reader.finish(problems);
    if let Some(Node { value: Value::Mapping(entries), .. }) = &mut root
        && let Some((_, block)) = entries.iter_mut().find(|(key, _)| key.text == "b")
        && let Value::Mapping(rest) = &mut block.value
    {
        rest.splice(..0, taken);
    }
    (root, count)
}

#[test]
fn a_block_can_be_taken_apart_while_it_is_read() {
    let count = |text: &str| {
        let (mut whole, mut parts) = (Problems::default(), Problems::default());
        let expected = parse(text, &mut whole);
        let (found, count) = taken_apart(text, &mut parts);
        assert_eq!((found, parts), (expected, whole), "{text}");
        count
    };
    assert_eq!(count("a: 1\nb: {x: 1, y: {b: {z: 2}}}\nc: 3\n"), 2);
    assert_eq!(count("b: {x: &x {p: 1}, y: *x, x: 2, <<: {z: 1, y: 2}}\nb: {w: 1}\n"), 2);
    assert_eq!(count("b: {x: 1, y: 2\n"), 2, "a broken file has no content");
    assert_eq!(count("a: {b: {x: 1}}\nc: [{b: {x: 1}}]\n"), 0, "only the outermost block");
    assert_eq!(count("b: &all {x: 1}\nc: *all\n"), 0, "it is wanted again as a whole");
    assert_eq!(count("<<: {b: {x: 1}}\nb: [1]\n"), 0);
    assert_eq!(count("b: {}\n") + count("b:\n") + count("b\n") + count(""), 0);
}

#[test]
fn what_stands_before_the_block_is_known_when_it_begins() {
    let mut reader = Reader::new("a: 1\nb: {x: 1}\nc: 2\n", Some("b"));
    assert!(reader.reach_block());
    assert!(reader.outermost("a").is_some() && reader.outermost("c").is_none());
}

proptest! {
    #[test]
    fn a_block_that_is_taken_apart_says_the_same(text in "(a: [a-c*&]{0,3}\n)?b:( &a)?\n( [a-c]: [a-c*&{},:\\[\\] ]{0,8}\n| <<: \\{a: 1\\}\n){0,4}([a-c]: (\\*a|\\{a: 1\\}|1)\n){0,2}") {
        let (mut whole, mut parts) = (Problems::default(), Problems::default());
        let expected = parse(&text, &mut whole);
        prop_assert_eq!(taken_apart(&text, &mut parts).0, expected);
        prop_assert_eq!(parts, whole);
    }

    #[test]
    fn never_panics(text in "[a-c:\\-&*<>\\[\\]{}#'\"|!?, \n\t]{0,60}") {
        errors(&text);
    }
}
