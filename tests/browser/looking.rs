//! What a visitor sees, and what holds for the page in a file and for the live one.

use serde_json::json;

use crate::driver::{Browser, Visitor};

/// What a hostile server says.
pub(crate) const ATTACK: &str =
    "</script><script>window.attacked = true</script><img src=x onerror='window.attacked = true'>";
pub(crate) const DESKTOP: Visitor = Visitor { dark: false, width: 1200 };
pub(crate) const PHONE: Visitor = Visitor { dark: true, width: 500 };

/// The texts whose contrast with what is behind them is too low. <https://www.w3.org/TR/WCAG21/#contrast-minimum>.
const FAINT: &str = "(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => numbers(color).slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if ((numbers(color)[3] ?? 1) > 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const own = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  return [...document.body.querySelectorAll('*')].filter((element) => own(element) && element.checkVisibility() && !element.closest('svg, script'))
    .filter((element) => {
      const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    }).map((element) => element.textContent);
})()";

impl Browser {
    /// The text of the first element that the selector finds.
    pub(crate) async fn text_of(&self, selector: &str) -> String {
        // In one step, because a refresh may replace the element at any time.
        let shown = self.evaluate(&format!("document.querySelector({}).innerText", json!(selector))).await;
        shown.as_str().unwrap().trim().to_owned()
    }

    /// Presses the button that the selector finds, in one step for the same reason.
    pub(crate) async fn press(&self, selector: &str) {
        self.evaluate(&format!("document.querySelector({}).click()", json!(selector))).await;
    }

    /// The first cells of the table of certificates.
    pub(crate) async fn listed(&self) -> Vec<String> {
        let ids = "[...document.querySelectorAll('#rows tr td:first-child button')].map((cell) => cell.textContent)";
        serde_json::from_value(self.evaluate(ids).await).unwrap()
    }

    /// Nothing that [`ATTACK`] brings along is in the page, or ran.
    pub(crate) async fn assert_not_attacked(&self) {
        assert_eq!(self.evaluate("document.querySelectorAll('script').length").await, 3);
        assert_eq!(self.evaluate("document.querySelectorAll('img').length").await, 0);
        assert_eq!(self.evaluate("window.attacked === undefined").await, true);
    }

    /// Each text stands out from what is behind it.
    pub(crate) async fn assert_readable(&self) {
        assert_eq!(self.evaluate(FAINT).await, json!([]));
    }

    /// Each control has a name, for those who hear the page.
    pub(crate) async fn assert_named_controls(&self) {
        let nameless = "[...document.querySelectorAll('input, select, button')]
            .filter((one) => !one.textContent.trim() && !one.labels?.length).length";
        assert_eq!(self.evaluate(nameless).await, 0);
    }

    /// Nothing is cut off on a narrow screen.
    pub(crate) async fn assert_not_wider_than_the_screen(&self) {
        let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        assert_eq!(self.evaluate(fits).await, true);
    }
}
