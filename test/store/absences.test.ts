import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Absences } from '../../src/store/absences.ts'

test('what was not found is absent until it is written', () => {
  const absences = new Absences()
  absences.add('a', absences.changes)
  assert.ok(absences.has('a'))
  assert.ok(!absences.has('b'))
  absences.written('a')
  assert.ok(!absences.has('a'))
})

test('a read that began before something was written says nothing', () => {
  const absences = new Absences()
  const before = absences.changes
  absences.written('a')
  absences.add('a', before)
  assert.ok(!absences.has('a'))
})

test('however much is asked for, so much is remembered: the last', () => {
  const absences = new Absences()
  for (let i = 0; i < 10_000; i++) absences.add(`key ${i}`, absences.changes)
  assert.ok(!absences.has('key 0'))
  assert.ok(absences.has('key 9999'))
})
