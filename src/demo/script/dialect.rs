//! What is said otherwise in Postgres: the words of SQLite that the statements of the scripts use and that no function of the demo's own
//! (`database/functions.sql`) can stand for.
//!
//! It knows these few words and no SQL. What else differs has two forms in its script.

/// Functions by another name. What `json_object` and `json_array` make there is of type `json`.
const RENAMED: [(&str, &str); 4] = [
    ("json_object", "json_build_object"),
    ("json_array", "json_build_array"),
    ("json_group_object", "json_object_agg"),
    ("char", "chr"),
];

const CAST: &str = "cast";

/// A statement for Postgres.
pub(super) fn postgres(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 64);
    let mut rest = sql;
    while let Some(open) = rest.find('(') {
        let (before, inside) = rest.split_at(open);
        let word = before.len() - before.chars().rev().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').count();
        let (before, word) = before.split_at(word);
        out.push_str(before);
        let integer = if word == CAST { as_integer(inside) } else { None };
        if let Some((number, length)) = integer {
            // SQLite cuts what Postgres would round.
            out.push_str(&format!("(trunc({})::integer)", postgres(number)));
            rest = &inside[length..];
            continue;
        }
        let renamed = RENAMED.iter().find(|(name, _)| *name == word);
        out.push_str(renamed.map_or(word, |(_, name)| name));
        out.push('(');
        rest = &inside[1..];
    }
    out.push_str(rest);
    out
}

/// What is cast in parentheses that begin a text, if it is cast to an integer, and the length of both parentheses.
fn as_integer(text: &str) -> Option<(&str, usize)> {
    let mut depth = 0;
    let end = text.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    })?;
    Some((text[1..end].strip_suffix(" as integer")?, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_sqlite_become_those_of_postgres() {
        for (sqlite, told) in [
            ("select 1", "select 1"),
            (
                "limit 1 offset cast(:dice * (select count(*) from t) as integer) + f(x)",
                "limit 1 offset (trunc(:dice * (select count(*) from t))::integer) + f(x)",
            ),
            ("cast(cast(x as integer) as text)", "cast((trunc(x)::integer) as text)"),
            (
                "json_object('a', json_array(), 'b', json_array_length(c), varchar(3), char(10))",
                "json_build_object('a', json_build_array(), 'b', json_array_length(c), varchar(3), chr(10))",
            ),
            ("{\u{20ac}}(cast(1 as integer", "{\u{20ac}}(cast(1 as integer"),
        ] {
            assert_eq!(postgres(sqlite), told);
        }
    }
}
