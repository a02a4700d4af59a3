// The table of certificates: search, sort, pages, and each certificate's story. The data is in the page; nothing is loaded. A live
// page also asks for itself again, and takes over what changed.
'use strict';
(() => {
  const COLUMNS = ['certificate_id', 'outcome', 'order_id', 'status_text', 'reference', 'error_code', 'changed_at'];
  const PAGE = 50;
  const [body, search, outcome, place, before, after] =
    ['rows', 'search', 'outcome', 'place', 'before', 'after'].map((id) => document.getElementById(id));
  const words = JSON.parse(document.getElementById('words').textContent);
  let data = '';
  let rows = [];
  let haystack = [];
  let sorted = { column: null, ascending: true };
  let open = null;
  let first = 0;

  const text = (row, column) => ({
    outcome: words[row.outcome],
    status_text: row.current_status_text ?? row.status_text,
  }[column] ?? row[column]) ?? '';

  // Takes the certificates from a page, this one or a newer one. Without news, nothing is touched.
  function read(page) {
    const news = page.getElementById('data').textContent;
    if (news === data) return;
    data = news;
    rows = JSON.parse(data);
    haystack = rows.map((row) => COLUMNS.map((column) => text(row, column)).concat(row.error_message ?? '').join('\n').toLowerCase());
    show();
  }

  function found() {
    const wanted = search.value.trim().toLowerCase();
    const indexes = rows.keys().filter((index) =>
      (!outcome.value || rows[index].outcome === outcome.value) && haystack[index].includes(wanted));
    const list = [...indexes].map((index) => rows[index]);
    if (sorted.column) {
      const sign = sorted.ascending ? 1 : -1;
      list.sort((a, b) => sign * String(text(a, sorted.column)).localeCompare(String(text(b, sorted.column)), 'en', { numeric: true }));
    }
    return list;
  }

  function element(name, content, attributes = {}) {
    const node = document.createElement(name);
    node.textContent = content;
    Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
    return node;
  }

  function story(row) {
    const cell = element('td', '', { colspan: COLUMNS.length });
    for (const [label, value] of [['What to do', row.to_do], ['Reason', row.reason], ['The CA says', row.current_status_message], ['The server said', row.error_message], ['RequestId', row.request_id]]) {
      if (value) cell.append(element('p', `${label}: ${value}`));
    }
    const list = document.createElement('ol');
    for (const request of row.requests) {
      const parts = [request.sent_at, request.kind, request.outcome ?? 'in flight', request.error_code, request.order_id,
        request.duration_ms === null ? null : `${request.duration_ms} ms`, request.request_id];
      list.append(element('li', parts.filter((part) => part !== null).join(' · ')));
    }
    cell.append(list);
    const line = document.createElement('tr');
    line.append(cell);
    return line;
  }

  // Writes a text only if it changed, because screen readers announce each change of some.
  function write(node, content) {
    if (node.textContent !== content) node.textContent = content;
  }

  function show() {
    const list = found();
    const focused = document.activeElement?.id ?? '';
    first = Math.min(first, Math.max(0, Math.floor((list.length - 1) / PAGE) * PAGE));
    const lines = [];
    for (const row of list.slice(first, first + PAGE)) {
      const line = document.createElement('tr');
      const isOpen = open === row.certificate_id;
      COLUMNS.forEach((column, position) => {
        const cell = document.createElement('td');
        if (position === 0) {
          const button = element('button', row.certificate_id, {
            class: 'story', type: 'button', id: `story-${row.certificate_id}`, 'aria-expanded': isOpen,
          });
          button.addEventListener('click', () => {
            button.focus();
            open = isOpen ? null : row.certificate_id;
            show();
          });
          cell.append(button);
        } else {
          cell.textContent = text(row, column);
        }
        line.append(cell);
      });
      lines.push(line);
      if (isOpen) lines.push(story(row));
    }
    body.replaceChildren(...lines);
    // The button that had the focus was replaced by another one for the same certificate.
    if (focused.startsWith('story-')) document.getElementById(focused)?.focus();
    write(place, list.length === 0 ? 'none' : `${first + 1} to ${Math.min(first + PAGE, list.length)} of ${list.length}`);
    before.disabled = first === 0;
    after.disabled = first + PAGE >= list.length;
  }

  document.querySelectorAll('th[data-column]').forEach((header) => {
    header.querySelector('button').addEventListener('click', () => {
      const column = header.dataset.column;
      sorted = { column, ascending: sorted.column === column ? !sorted.ascending : true };
      document.querySelectorAll('th[data-column]').forEach((other) => other.removeAttribute('aria-sort'));
      header.setAttribute('aria-sort', sorted.ascending ? 'ascending' : 'descending');
      first = 0;
      show();
    });
  });
  for (const [control, event] of [[search, 'input'], [outcome, 'change']]) {
    control.addEventListener(event, () => { first = 0; open = null; show(); });
  }
  before.addEventListener('click', () => { first -= PAGE; show(); });
  after.addEventListener('click', () => { first += PAGE; show(); });
  read(document);

  // A live page: asks for itself again, a few seconds after the last answer.
  const wait = Number(document.body.dataset.refresh) * 1000;
  if (!wait) return;
  const LONGEST = 60_000;
  const [wanted, refreshed, trouble] = ['refresh', 'refreshed', 'trouble'].map((id) => document.getElementById(id));
  const now = () => `${new Date().toISOString().slice(11, 19)} UTC`;
  let since = null;
  let timer = null;
  let isAsking = false;

  async function newer() {
    const options = { cache: 'no-store', redirect: 'error', signal: AbortSignal.timeout(LONGEST) };
    const response = await fetch(location.href, options).catch(() => { throw new Error('the daemon can’t be reached'); });
    const answer = await response.text();
    if (!response.ok) throw new Error(answer.trim() || `the answer was ${response.status}`);
    const page = new DOMParser().parseFromString(answer, 'text/html');
    if (!page.getElementById('data')) throw new Error('the answer was another page');
    return page;
  }

  function takeOver(page) {
    for (const part of document.querySelectorAll('[data-part]')) {
      const news = page.querySelector(`[data-part="${part.dataset.part}"]`);
      if (news && !news.isEqualNode(part)) part.replaceWith(document.adoptNode(news));
    }
    read(page);
  }

  async function refresh() {
    isAsking = true;
    try {
      takeOver(await newer());
      since = null;
      write(refreshed, `Refreshed at ${now()}.`);
      write(trouble, '');
    } catch (error) {
      since ??= now();
      write(trouble, `Not refreshed since ${since}: ${error.message}`);
    }
    isAsking = false;
    plan();
  }

  // In a tab that nobody sees, it waits until somebody looks.
  function plan() {
    clearTimeout(timer);
    if (!isAsking && wanted.checked && !document.hidden) timer = setTimeout(refresh, wait);
  }

  wanted.addEventListener('change', plan);
  document.addEventListener('visibilitychange', plan);
  plan();
})();
