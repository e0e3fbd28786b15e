import { execFileSync } from 'node:child_process'
import { cp, link, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'

/** A fresh directory that is removed when the test ends. */
export async function tmp(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'shoal-test-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

/**
 * A filesystem of its own of so many bytes; or `undefined`, where this user may not mount one. In CI that is a failure:
 * a test that needs it must not pass there by not running.
 */
export async function smallDisk(t: TestContext, bytes: number): Promise<string | undefined> {
  const path = await mkdtemp(join(tmpdir(), 'shoal-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path], { stdio: 'pipe' })
  } catch (error) {
    await rm(path, { recursive: true, force: true })
    if (process.env.CI) throw error
    return undefined
  }
  t.after(async () => {
    execFileSync('umount', ['--lazy', path])
    await rm(path, { recursive: true, force: true })
  })
  return path
}

/** What a store's directory would be found as if the process died this instant: its files, as the kernel has them. */
export async function crashCopy(t: TestContext, from: string, options: { share?: boolean } = {}): Promise<string> {
  const to = join(await tmp(t), 'crashed')
  await cp(join(from, 'catalog'), join(to, 'catalog'), { recursive: true })
  if (!options.share) {
    await cp(join(from, 'blobs'), join(to, 'blobs'), { recursive: true })
    return to
  }
  for (const entry of await readdir(join(from, 'blobs'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const source = join(entry.parentPath, entry.name)
    const target = join(to, source.slice(from.length))
    await mkdir(dirname(target), { recursive: true })
    await link(source, target)
  }
  return to
}
