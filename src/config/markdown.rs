//! docs/config.md, made from the table. A test keeps the file fresh.

use std::fmt::Write;

use super::directives::{Change, Directive, Effect, GROUPS, foreign};

/// The page.
pub fn render_markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Generated from the table in src/config/directives; do not edit.\n\n\
         The syntax is that of redis.conf: one directive a line, `include` for further files. Each directive may also \
         be given as `--name value` on the command line. *Runtime* tells whether CONFIG SET may change it; *protected* \
         ones only where `enable-protected-configs` allows it. Directives marked *no effect* are accepted so that \
         configuration files of Redis load; the server warns when such a line sets something else than the default. What \
         restricts access and would not do so here stops the start instead.\n",
    );
    for group in GROUPS {
        write_line(&mut page, &format!("\n## {}\n", group.title));
        write_line(&mut page, "| Directive | Accepts | Default | Runtime | Meaning |");
        write_line(&mut page, "| --- | --- | --- | --- | --- |");
        for directive in group.rows.iter().filter(|directive| !directive.is_hidden) {
            write_line(&mut page, &row(directive));
        }
    }
    write_line(&mut page, "\n## Directives of other versions\n");
    write_line(
        &mut page,
        "Redis 2.0 to 8 and Valkey know these, or did; a line with one is taken and does nothing, and the log says so. \
         So it is with directives of modules (`bf-`, `cf-`, `search-`, `ts-`, `json.`, `bf.`, `search.`, `ldap.`).\n",
    );
    write_line(&mut page, "| Directive | Why it does nothing |\n| --- | --- |");
    for (name, reason) in foreign::all() {
        write_line(&mut page, &format!("| `{name}` | {reason} |"));
    }
    page
}

fn row(directive: &Directive) -> String {
    let alias = directive.alias.map(|alias| format!(", `{alias}`")).unwrap_or_default();
    let default =
        if directive.default.is_empty() { "`\"\"`".to_string() } else { format!("`{}`", directive.default) };
    let runtime = match directive.change {
        Change::Runtime => "yes",
        Change::Protected => "protected",
        Change::Immutable | Change::ProtectedImmutable | Change::Fixed => "no",
    };
    let effect = match directive.effect {
        Effect::Field { .. } => "",
        Effect::None { .. } => "*No effect.* ",
        Effect::Refused { .. } => "*Only the default is accepted*: ",
    };
    format!(
        "| `{}`{alias} | {} | {default} | {runtime} | {effect}{} |",
        directive.name, directive.kind, directive.doc
    )
}

fn write_line(page: &mut String, line: &str) {
    writeln!(page, "{line}").expect("writing to a String cannot fail");
}
