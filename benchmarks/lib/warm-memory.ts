import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'

const BLOCK = Buffer.alloc(4 * 1024 * 1024, 1)

/**
 * Makes the machine own so much free memory. A virtual machine gives what is free back to its host within seconds, and a file that is
 * written then waits for the host page by page: up to six times as long, for reasons that are not the program's.
 */
export async function warmMemory(dir: string, bytes: number): Promise<void> {
  const path = join(dir, 'warm')
  const file = await open(path, 'w')
  try {
    for (let left = bytes; left > 0; left -= BLOCK.length) await file.write(BLOCK)
  } finally {
    await file.close()
    await rm(path)
  }
}
