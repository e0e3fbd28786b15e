import { readFileSync } from 'node:fs'

/** The version in package.json, which lies one folder up from the sources and two from the compiled files. */
export const VERSION: string = readVersion()

function readVersion(): string {
  for (const relative of ['../package.json', '../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(relative, import.meta.url), 'utf8')) as {
        name?: string
        version?: string
      }
      if (name === 'shoal' && version !== undefined) return version
    } catch {
      // not there: the other place
    }
  }
  return '0.0.0'
}
