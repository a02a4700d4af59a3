//! `certcommit retry`.

use std::io::{self, IsTerminal as _, Write as _};

use super::exit::{Code, Failure};
use super::moving::{print_shifted, shift};
use crate::config::Settings;
use crate::queue::{FailedGroup, Opening, Queue, Selection, UntrustedText};
use crate::submission::{CertificateId, State, VerifyType};

/// So many groups are shown; those that follow are small.
const GROUPS_SHOWN: u32 = 20;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["ids", "error_code", "reference"]))]
pub(super) struct Arguments {
    /// IDs of failed, held or canceled certificates.
    #[arg(value_name = "ID", conflicts_with_all = ["error_code", "reference", "dry_run"])]
    ids: Vec<CertificateId>,
    /// All failed submissions with this error code; with --reference, those that have both.
    #[arg(long, value_name = "CODE")]
    error_code: Option<String>,
    /// All failed submissions with this reference.
    #[arg(long)]
    reference: Option<String>,
    /// First set how their domains are validated: DNS_AUTO, DNS, FILE, DNS_PROXY or FILE_PROXY.
    #[arg(long, value_name = "TYPE")]
    verify_type: Option<VerifyType>,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Don't ask, even on a terminal.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    const DESCRIPTION: &str = "pending again, due now; what was sent before is read back first";
    let Arguments { ids, error_code, reference, verify_type, dry_run, yes } = arguments;
    if !ids.is_empty() {
        let from = [State::Failed, State::Held, State::Canceled];
        return shift(settings, &Selection::Ids(ids), &from, State::Pending, verify_type, DESCRIPTION).await;
    }
    let mut queue = Queue::open(&settings.database, Opening::Existing).await?;
    let groups = queue.failed_groups(error_code.as_deref(), reference.as_deref(), GROUPS_SHOWN).await?;
    for line in preview(&groups, verify_type) {
        writeln!(io::stdout(), "{line}")?;
    }
    if dry_run || groups.is_empty() || !(yes || confirmed()?) {
        writeln!(io::stdout(), "nothing was changed")?;
        return Ok(Code::Done);
    }
    let selection = Selection::With { error_code, reference };
    let shifted = queue.shift(&selection, &[State::Failed], State::Pending, verify_type).await?;
    print_shifted(&mut queue, &shifted, State::Pending, DESCRIPTION).await
}

/// What is about to be sent again, a group a line.
fn preview(groups: &[FailedGroup], verify_type: Option<VerifyType>) -> Vec<String> {
    let text = |text: &Option<UntrustedText>| text.as_ref().map(|text| text.as_str().to_owned());
    let line = |group: &FailedGroup| {
        let code = text(&group.error_code).unwrap_or_else(|| "no error code".to_owned());
        let message = text(&group.error_message).map(|message| format!(": {message}")).unwrap_or_default();
        let before = text(&group.verify_type).unwrap_or_else(|| "none".to_owned());
        let validated = match verify_type {
            Some(after) => format!("verify_type {before}, becomes {}", after.as_str()),
            None => format!("verify_type {before}, as before"),
        };
        let reference = text(&group.reference).map(|reference| format!("; reference {reference}")).unwrap_or_default();
        format!("{:>9}  {code}{message}; {validated}{reference}", group.count)
    };
    let heading =
        if groups.is_empty() { "no failed submission meets these conditions" } else { "failed, to be sent again:" };
    std::iter::once(heading.to_owned()).chain(groups.iter().map(line)).collect()
}

/// Asks on a terminal. A script has said what it wants.
fn confirmed() -> io::Result<bool> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Ok(true);
    }
    write!(io::stdout(), "Send them again? [y/N] ")?;
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preview_has_a_line_for_each_group_with_the_servers_words_and_what_changes() {
        let text = |text: &str| Some(UntrustedText::of(text));
        let group = FailedGroup {
            error_code: text("InvalidParam"),
            error_message: text("the verify type is wrong"),
            verify_type: text("FILE"),
            reference: text("spring"),
            count: 120,
            since: None,
        };
        let other = FailedGroup {
            error_code: None,
            error_message: None,
            verify_type: None,
            reference: None,
            count: 1,
            since: None,
        };
        assert_eq!(
            preview(&[group.clone(), other], Some(VerifyType::DnsAuto)),
            [
                "failed, to be sent again:",
                "      120  InvalidParam: the verify type is wrong; verify_type FILE, becomes DNS_AUTO; reference spring",
                "        1  no error code; verify_type none, becomes DNS_AUTO",
            ]
        );
        assert!(preview(&[group], None)[1].ends_with("; verify_type FILE, as before; reference spring"));
        assert_eq!(preview(&[], None), ["no failed submission meets these conditions"]);
    }
}
