//! Characters that do not show: seen in every result, and no obstacle to an edit.

use super::*;

const FILE: &str = "let a\u{200b} = 1;\nlet b = 2;\n";

#[tokio::test]
async fn a_view_a_search_and_a_listing_write_them_out() {
    let mut shop = Workshop::new(&[("a.js", FILE), ("x\u{202e}y", "")]);
    let seen = shop.edit(json!({"command": "view", "path": "a.js"})).await;
    assert_eq!(seen.unwrap(), "     1\tlet a<U+200B> = 1;\n     2\tlet b = 2;\n");
    let found = shop.call("search_files", json!({"pattern": "a\\x{200B}"})).await;
    assert!(found.unwrap().contains("1: let a<U+200B> = 1;"));
    let listed = shop.call("list_files", json!({})).await;
    assert_eq!(listed.unwrap(), "/repo/a.js\n/repo/x<U+202E>y");
    refused(
        shop.edit(json!({"command": "view", "path": "x<U+202E>y"})).await,
        "give the character itself",
    );
    let seen = shop.edit(json!({"command": "view", "path": "x\u{202e}y"})).await;
    assert_eq!(seen.unwrap(), "(empty)");
}

#[tokio::test]
async fn an_edit_that_misses_them_is_told_and_one_that_has_them_works() {
    let mut shop = Workshop::new(&[("a.js", FILE)]);
    let replace = |old: &str, new: &str| json!({"command": "str_replace", "path": "a.js", "old_str": old, "new_str": new});
    for old in ["let a<U+200B> = 1;", "let a = 1;", "let a\u{feff} = 1;\nlet b"] {
        let told = shop.edit(replace(old, "x")).await.unwrap_err();
        assert!(told.contains("give the character itself, in JSON as \\u200b"), "{told}");
        assert!(told.contains("only in such characters; a part without any can be replaced as it is shown:\n     1\tlet a<U+200B> = 1;"), "{told}");
    }
    refused(shop.edit(replace("<U+200B>", "")).await, "give the character itself");
    assert_eq!(shop.read("a.js"), FILE);
    // A part without any.
    shop.edit(replace("= 1", "= 10")).await.unwrap();
    assert_eq!(shop.read("a.js"), "let a\u{200b} = 10;\nlet b = 2;\n");
    shop.edit(replace("a\u{200b}", "a")).await.unwrap();
    assert_eq!(shop.read("a.js"), "let a = 10;\nlet b = 2;\n");
}

#[tokio::test]
async fn a_mark_that_is_written_is_said_to_be_one() {
    let mut shop = Workshop::new(&[("a", "one\n")]);
    let note = "were written as they are";
    for input in [
        json!({"command": "str_replace", "path": "a", "old_str": "one", "new_str": "<U+FEFF>one"}),
        json!({"command": "insert", "path": "a", "insert_line": 0, "insert_text": "<U+200B>"}),
        json!({"command": "create", "path": "b", "file_text": "<U+202E>"}),
    ] {
        assert!(shop.edit(input.clone()).await.unwrap().contains(note), "{input}");
    }
    assert_eq!(shop.read("a"), "<U+200B>\n<U+FEFF>one\n");
    // Whoever replaces a mark knows that it is one.
    let known = json!({"command": "str_replace", "path": "a", "old_str": "<U+FEFF>", "new_str": "<U+200B>"});
    assert!(!shop.edit(known).await.unwrap().contains(note));
}

#[tokio::test]
async fn a_result_is_cut_by_what_is_seen_of_it() {
    let mut shop = Workshop::new(&[("a", &"\u{e0041}".repeat(20_000))]);
    shop.context.first_note = Some("[a]\n[exit code 0]".to_owned());
    let asked = json!({"command": "view", "path": "a"});
    let ran = shop.turn(&[("1", "str_replace_based_edit_tool", asked)]).await;
    let (text, _) = block(&ran.results[0]);
    assert!(text.chars().count() < 31_000 && text.contains("characters left out"));
    assert!(text.starts_with("[a]<U+000A>[exit code 0]\n     1\t<U+E0041>"), "{}", &text[..60]);
    assert_eq!(ran.outputs[0].output.matches("<U+E0041>").count(), 20_000);
}
