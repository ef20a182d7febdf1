// Runs the public suite "http-cache-tests" against one cache and holds it to a floor that only rises.
//
// usage: node cache-tests.mjs SUITE BASE LEDGER [ID…]
//   SUITE   folder of the npm package http-cache-tests, with node-fetch beside it in node_modules
//   BASE    the cache, e.g. http://127.0.0.1:8080; its origin is the suite's own server
//   LEDGER  JSON: the tests that are not passed, each with its reason by RFC section
//   ID      only these tests, with the whole exchange printed
//
// What counts is what the suite's own table counts for a proxy (its lib/display.mjs): the tests of tests/index.mjs that
// are not for browsers only; one without a kind is required; one is passed only when every test that it depends on is
// passed too. tests/surrogate-control.mjs is not in that index: it is about a W3C note of 2001 whose successor is
// RFC 9213, which edge/tests/serve/targeted.rs holds the edge to.
//
// The floor: exit 1 when a test outside the ledger fails, when one inside it passes (then it must leave the ledger),
// when the ledger names a test that is not there, or when less than 95 % of the optimal ones are passed.

import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [suiteFolder, base, ledgerFile, ...only] = process.argv.slice(2)
const suite = path => import(pathToFileURL(join(resolve(suiteFolder), path)))
const require = createRequire(join(resolve(suiteFolder), 'package.json'))

const { runTests, getResults } = await suite('client/runner.mjs')
const groups = (await suite('tests/index.mjs')).default
const ledger = JSON.parse(readFileSync(ledgerFile, 'utf8'))

const all = groups.flatMap(group => group.tests).filter(test => test.browser_only !== true)
const byId = new Map(all.map(test => [test.id, test]))
const chosen = only.length === 0 ? groups : [{ tests: all.filter(test => only.includes(test.id)).map(test => ({ ...test, dump: true })) }]

await runTests(chosen, require('node-fetch'), false, base, 40)
const results = getResults()

const passed = id => results[id] === true && (byId.get(id)?.depends_on ?? []).every(passed)
const why = id => results[id] === true ? 'depends on a test that is not passed' : JSON.stringify(results[id] ?? 'not run')

let wrong = 0
for (const id of Object.keys(ledger).filter(id => !byId.has(id))) {
  wrong += 1
  console.log(`  ${id}: in the ledger, and no test of the suite`)
}
for (const kind of ['required', 'optimal', 'check']) {
  const tests = all.filter(test => (test.kind ?? 'required') === kind && (only.length === 0 || only.includes(test.id)))
  const good = tests.filter(test => passed(test.id))
  console.log(`${kind}: ${good.length} of ${tests.length}`)
  if (kind === 'check') continue // what a cache may do either way
  if (kind === 'optimal' && good.length < tests.length * 0.95) {
    wrong += 1
    console.log('  less than 95 % of the optimal ones')
  }
  for (const test of tests) {
    const listed = ledger[test.id]
    if (passed(test.id)) {
      if (listed !== undefined) { wrong += 1; console.log(`  ${test.id}: passed; take it out of the ledger`) }
    } else if (listed !== undefined) {
      console.log(`  ${test.id}: not passed, as the ledger says: ${listed}`)
    } else {
      wrong += 1
      console.log(`  ${test.id}: NOT PASSED: ${why(test.id)}`)
    }
  }
}
process.exit(wrong === 0 || only.length !== 0 ? 0 : 1)
