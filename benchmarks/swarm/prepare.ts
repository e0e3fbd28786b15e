import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createImage, type Image, type ImageOptions } from '../../examples/demo/image.ts'
import { fillRegistry } from './origin.ts'
import type { Scenario } from './scenario.ts'

/** What a scenario's rounds share. */
export interface Prepared extends AsyncDisposable {
  readonly image: Image
  /** What daemons have pulled before: in a warm crowd. */
  readonly warm: Image
  readonly registryDir: string
  /** For one round; removed when disposed. */
  roundDir(): Promise<AsyncDisposable & { readonly path: string }>
}

/** In memory, if possible: hosts have a disk each, and all of them on this machine's one would measure that. */
const MEMORY = '/dev/shm'
const PREFIX = 'shoal-swarm-'
/** Enough for V8 to have compiled what a pull runs through. */
const WARM_BYTES = 12 * 1024 * 1024

/** Makes the content and a registry's directory that holds it. */
export async function prepare(scenario: Scenario): Promise<Prepared> {
  const place = existsSync(MEMORY) ? MEMORY : tmpdir()
  await removeLeftovers(place)
  const base = await mkdtemp(join(place, `${PREFIX}${process.pid}-`))
  const remove = () => rm(base, { recursive: true, force: true })
  try {
    const image = createImage(imageOptions(scenario))
    const registryDir = join(base, 'registry')
    const ownBytes = scenario.layerBytes.reduce((sum, bytes) => sum + bytes, 0)
    const warm = createImage({ seed: `${scenario.name} before`, layerBytes: [Math.min(WARM_BYTES, ownBytes)] })
    await fillRegistry(registryDir, image, warm)
    return { image, warm, registryDir, roundDir: () => roundDir(base), [Symbol.asyncDispose]: remove }
  } catch (error) {
    await remove()
    throw error
  }
}

/** What the scenario's image is made from. */
export function imageOptions({ name, layerBytes }: Scenario): ImageOptions {
  return { seed: name, layerBytes }
}

async function roundDir(base: string): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(base, 'round-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** What a run that was killed left: directories named after a process that is no more. */
async function removeLeftovers(place: string): Promise<void> {
  for (const name of await readdir(place)) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await rm(join(place, name), { recursive: true, force: true })
  }
}
