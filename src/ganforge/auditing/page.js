// The pictures behind the findings: searched, filtered, ordered, a page at a time. AUDIT, defined before this script,
// says which codes there are; the entries of a code are scripts in AUDIT.folder that call part(code, number, entries).
// An entry is a list of pictures: one, or a group of alike ones. A picture is a list:
// name, class, severity, detail, codes, [width, height] or 0, thumbnail's number (0 none, -1 not readable),
// whether a browser shows the file, and the end of its address where the name does not tell it.
const $ = id => document.getElementById(id)
const parts = {}, loading = {}, states = {}
const sections = [...document.querySelectorAll('section.code')]

function part(code, n, entries) { (parts[code] ??= [])[n] = entries }

function load(code, n) {
  return loading[code + n] ??= new Promise((resolve, reject) => {
    const script = document.createElement('script')
    script.src = `${AUDIT.folder}/${code}-${n}.js`
    script.onload = resolve
    script.onerror = () => { delete loading[code + n]; script.remove(); reject(script.src) }
    document.head.append(script)
  })
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties)
  element.append(...children)
  return element
}

const filters = () => ({
  word: $('word').value.toLowerCase(), kind: $('kind').value, label: $('label').value, order: $('order').value,
})
const number = n => n.toLocaleString('en')
const file = row =>
  AUDIT.base === null ? null : AUDIT.base + (row[8] ?? row[0].split('/').map(encodeURIComponent).join('/'))
const thumbnail = row => row[6] > 0 ? `${AUDIT.folder}/${row[6]}.jpg` : row[6] === 0 && row[7] ? file(row) : null
const severity = row => AUDIT.severities[row[2]]
const reasons = row => row[4].map(n => AUDIT.names[n].replaceAll('_', ' ')).join(', ')
const none = textContent => make('div', { className: 'none', textContent })

function picture(src, row) {
  if (!src) return none(row[6] < 0 ? 'cannot be shown' : 'no thumbnail')
  const image = make('img', { loading: 'lazy', alt: '', src })
  image.onload = () => image.classList.toggle('px', image.naturalWidth < 96)
  image.onerror = () => image.replaceWith(none('its file is not there'))
  return image
}

function card(row, rows) {
  const name = make('span', { className: 'dot ' + severity(row), textContent: row[0] })
  const detail = make('span', { textContent: [row[1], row[3]].filter(Boolean).join('; ') })
  const figure = make('figure', { title: `${row[0]}: ${reasons(row)}`, tabIndex: 0 },
    picture(thumbnail(row), row), make('figcaption', {}, name, detail))
  figure.onclick = () => enlarge(rows, rows.indexOf(row))
  figure.onkeydown = event => event.key === 'Enter' && figure.onclick()
  return figure
}

function group(rows, shown) {
  const cards = make('div', { className: 'cards' }, ...rows.slice(0, shown).map(row => card(row, rows)))
  const box = make('div', { className: 'group' }, cards)
  if (rows.length > shown) {
    const more = make('button', { textContent: `${number(rows.length - shown)} more` })
    more.onclick = () => box.replaceWith(group(rows, shown + 60))
    box.append(more)
  }
  return box
}

function enlarge(rows, index) {
  const row = rows[index], box = $('large'), href = file(row), first = index === 0, last = index === rows.length - 1
  const step = by => enlarge(rows, index + by)
  const image = picture(href && row[7] ? href : thumbnail(row), row)
  if (href && row[7] && row[6] > 0) image.onerror = () => image.replaceWith(picture(thumbnail(row), row))
  const size = row[5] ? `${row[5][0]} x ${row[5][1]}` : ''
  const facts = [row[1], size, severity(row), reasons(row), row[3]].filter(Boolean).join(' \u00b7 ')
  const open = href
    ? make('a', { href, target: '_blank', textContent: 'open the file' })
    : make('a', { textContent: AUDIT.where })
  box.replaceChildren(
    image,
    make('p', {}, make('b', { textContent: row[0] })),
    make('p', { className: 'by small', textContent: facts }),
    make('div', { className: 'bottom' }, open,
      make('button', { textContent: 'before', disabled: first, onclick: () => step(-1) }),
      make('button', { textContent: 'next', disabled: last, onclick: () => step(1) }),
      make('button', { textContent: 'close', onclick: () => box.close() })))
  box.onkeydown = event => {
    if (event.key === 'ArrowLeft' && !first) step(-1)
    if (event.key === 'ArrowRight' && !last) step(1)
  }
  if (!box.open) box.showModal()
}

// The entries of one page of a section, and how many fit the filters. Only what the page needs is loaded, unless a
// filter or another order needs all of it.
async function select(code, facts, state, size) {
  const { word, label, order } = filters()
  const clamp = count => { state.page = Math.max(0, Math.min(state.page, Math.ceil(count / size) - 1)) }
  if (!word && !label && order === 'worst') {
    const count = facts.entries
    clamp(count)
    const from = state.page * size, to = from + size, starts = facts.starts
    const needed = [...starts.keys()].filter(n => starts[n] < to && (starts[n + 1] ?? count) > from)
    await Promise.all(needed.map(n => load(code, n)))
    const slice = n => parts[code][n].slice(Math.max(0, from - starts[n]), Math.max(0, to - starts[n]))
    return { count, entries: needed.flatMap(slice) }
  }
  await Promise.all(Array.from({ length: facts.parts }, (_, n) => load(code, n)))
  const fits = row =>
    (!label || row[1] === label) && (!word || `${row[0]} ${row[1]} ${row[3]}`.toLowerCase().includes(word))
  let entries = parts[code].flat().filter(rows => rows.some(fits))
  if (word || label) entries = entries.map(rows => [...rows.filter(fits), ...rows.filter(row => !fits(row))])
  const by = { name: rows => rows[0][0], label: rows => rows[0][1] }[order]
  if (by) entries.sort((a, b) => by(a) < by(b) ? -1 : by(a) > by(b) ? 1 : 0)
  clamp(entries.length)
  return { count: entries.length, entries: entries.slice(state.page * size, (state.page + 1) * size) }
}

async function draw(section) {
  const code = section.id, facts = AUDIT.codes[code], kind = filters().kind
  const state = states[code] ??= { page: 0, turn: 0 }, turn = ++state.turn
  const body = section.querySelector('.body'), size = facts.grouped ? 12 : 24
  section.hidden = Boolean(kind && kind !== facts.severity)
  if (section.hidden) return
  try {
    const { count, entries } = await select(code, facts, state, size)
    if (turn !== state.turn) return  // another filter was set in the meantime
    section.hidden = !count
    const rows = entries.flat()
    body.className = facts.grouped ? 'body groups' : 'body cards'
    body.replaceChildren(...entries.map(entry => facts.grouped ? group(entry, 6) : card(entry[0], rows)))
    pages(section, state, count, size, facts)
  } catch (src) {
    body.replaceChildren(`${src} cannot be read. The folder ${AUDIT.folder} belongs beside this page.`)
  }
}

function pages(section, state, count, size, facts) {
  const last = Math.max(0, Math.ceil(count / size) - 1), first = state.page * size
  const go = page => { state.page = Math.max(0, Math.min(last, page)); draw(section) }
  const text = `${number(first + 1)} to ${number(Math.min(first + size, count))} of ${number(count)}`
    + (facts.grouped ? ' groups' : '')
  const back = make('button', {
    textContent: '\u2039', ariaLabel: 'page before', disabled: !state.page, onclick: () => go(state.page - 1),
  })
  const next = make('button', {
    textContent: '\u203a', ariaLabel: 'next page', disabled: state.page === last, onclick: () => go(state.page + 1),
  })
  const page = make('input', {
    type: 'number', min: 1, max: last + 1, value: state.page + 1, ariaLabel: 'page', onchange: () => go(page.value - 1),
  })
  const bar = section.querySelector('.pages')
  bar.replaceChildren(text, ...(last ? [back, page, `of ${number(last + 1)}`, next] : []))
}

const observer = new IntersectionObserver(changes => {
  for (const { isIntersecting, target } of changes) {
    if (isIntersecting) { observer.unobserve(target); draw(target) }
  }
}, { rootMargin: '800px' })
sections.forEach(section => observer.observe(section))

let timer = 0
function search() {
  clearTimeout(timer)
  timer = setTimeout(async () => {
    $('status').textContent = 'searching'
    for (const state of Object.values(states)) state.page = 0
    await Promise.all(sections.map(section => { observer.unobserve(section); return draw(section) }))
    $('status').textContent = sections.some(section => !section.hidden) ? '' : 'nothing fits'
  }, 200)
}
for (const id of ['word', 'kind', 'label', 'order']) $(id).addEventListener('input', search)
