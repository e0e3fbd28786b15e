import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/** A fresh directory that is removed when the test ends. */
export async function tmp(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'shoal-test-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}
