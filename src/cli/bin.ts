#!/usr/bin/env node
/** What a shell runs. An older Node.js can't even parse the rest, so it is told here what is missing. */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major > 24 || (major === 24 && minor >= 2)) {
  const { runAsProgram } = await import('./main.ts')
  runAsProgram()
} else {
  process.stderr.write(`shoal needs Node.js 24.2 or newer, and this is ${process.versions.node}\n`)
  process.exitCode = 1
}
