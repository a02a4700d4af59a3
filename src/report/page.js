// The table of certificates: search, sort, pages, and each certificate's story. The data is in the page; nothing is loaded.
'use strict';
(() => {
  const COLUMNS = ['certificate_id', 'outcome', 'order_id', 'status_text', 'reference', 'error_code', 'changed_at'];
  const PAGE = 50;
  const rows = JSON.parse(document.getElementById('data').textContent);
  const words = JSON.parse(document.getElementById('words').textContent);
  const body = document.getElementById('rows');
  const search = document.getElementById('search');
  const outcome = document.getElementById('outcome');
  const place = document.getElementById('place');
  const [before, after] = ['before', 'after'].map((id) => document.getElementById(id));
  let sorted = { column: null, ascending: true };
  let open = null;
  let first = 0;

  const text = (row, column) => ({
    outcome: words[row.outcome],
    status_text: row.current_status_text ?? row.status_text,
  }[column] ?? row[column]) ?? '';
  const haystack = rows.map((row) => COLUMNS.map((column) => text(row, column)).concat(row.error_message ?? '').join('\n').toLowerCase());

  function found() {
    const wanted = search.value.trim().toLowerCase();
    const indexes = rows.keys().filter((index) =>
      (!outcome.value || rows[index].outcome === outcome.value) && haystack[index].includes(wanted));
    const list = [...indexes];
    if (sorted.column) {
      const sign = sorted.ascending ? 1 : -1;
      list.sort((a, b) => sign * String(text(rows[a], sorted.column)).localeCompare(String(text(rows[b], sorted.column)), 'en', { numeric: true }));
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
    for (const [label, value] of [['What to do', row.to_do], ['Reason', row.reason], ['The server said', row.error_message], ['RequestId', row.request_id]]) {
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

  function show() {
    const list = found();
    first = Math.min(first, Math.max(0, Math.floor((list.length - 1) / PAGE) * PAGE));
    const lines = [];
    for (const index of list.slice(first, first + PAGE)) {
      const row = rows[index];
      const line = document.createElement('tr');
      COLUMNS.forEach((column, position) => {
        const cell = document.createElement('td');
        if (position === 0) {
          const button = element('button', row.certificate_id, { class: 'story', type: 'button', 'aria-expanded': open === index });
          button.addEventListener('click', () => {
            open = open === index ? null : index;
            show();
            document.getElementById(`story-${index}`)?.focus();
          });
          button.id = `story-${index}`;
          cell.append(button);
        } else {
          cell.textContent = text(row, column);
        }
        line.append(cell);
      });
      lines.push(line);
      if (open === index) lines.push(story(row));
    }
    body.replaceChildren(...lines);
    place.textContent = list.length === 0 ? 'none' : `${first + 1} to ${Math.min(first + PAGE, list.length)} of ${list.length}`;
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
  show();
})();
