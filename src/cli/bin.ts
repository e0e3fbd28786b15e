#!/usr/bin/env -S node --max-semi-space-size=2 --heap-growing-percent=100 --no-parallel-scavenge --v8-pool-size=1
/**
 * What a shell runs. The room for young objects is kept small (V8 takes 16 MiB of it three times over): a node moves its bytes in
 * buffers outside that heap, and idles in 20 MiB less. V8 counts those buffers as the heap's, and would go through all of it every
 * few seconds of a transfer, so it may double first; and the little that is young is not worth waking other threads for.
 */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major > 24 || (major === 24 && minor >= 2)) {
  if (import.meta.url.endsWith('.ts')) await rememberStripped()
  const { runAsProgram } = await import('./main.ts')
  runAsProgram()
} else {
  // an older Node.js can't even parse the rest
  process.stderr.write(`shoal needs Node.js 24.2 or newer, and this is ${process.versions.node}\n`)
  process.exitCode = 1
}

/** Run as sources: taking the types out costs 40 MiB and a third of a second at each start, if what was left is not kept. */
async function rememberStripped(): Promise<void> {
  const { enableCompileCache } = await import('node:module')
  const { fileURLToPath } = await import('node:url')
  // threads take it from the environment
  process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL('../../node_modules/.cache/shoal', import.meta.url))
  enableCompileCache(process.env.NODE_COMPILE_CACHE)
}
