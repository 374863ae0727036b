import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

/** The words through which a fight (one case) and its scribbler thread talk. */
export const IS_ON = 0
export const IS_WRITING = 1
export const SEED = 2
export const SCRIBBLES = 3
export const CONTROL_WORDS = 4

export type ScribblerOrder =
  | { readonly order: 'enter'; readonly subject: string; readonly handle: unknown; readonly control: Int32Array }
  | { readonly order: 'leave' }

/** A second thread that overwrites the memory of a fight as fast as it can, and restores a word now and then. */
export class Scribbler {
  readonly #control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4))
  #worker: Worker | undefined

  get scribbles(): number {
    return Atomics.load(this.#control, SCRIBBLES) >>> 0
  }

  async enter(subject: string, handle: unknown): Promise<void> {
    this.#worker ??= new Worker(fileURLToPath(new URL('./hostile-scribbler.js', import.meta.url)))
    await this.#tell({ order: 'enter', subject, handle, control: this.#control })
  }

  /** Releases the memory. */
  async leave(): Promise<void> {
    if (this.#worker !== undefined) await this.#tell({ order: 'leave' })
  }

  begin(seed: number): void {
    Atomics.store(this.#control, SEED, seed)
    Atomics.store(this.#control, IS_ON, 1)
    Atomics.notify(this.#control, IS_ON)
  }

  /** Stops the writes; when this returns, the thread writes nothing more. */
  pause(): void {
    Atomics.store(this.#control, IS_ON, 0)
    while (Atomics.load(this.#control, IS_WRITING) !== 0) Atomics.wait(this.#control, IS_WRITING, 1, 100)
  }

  async close(): Promise<void> {
    await this.leave()
    await this.#worker?.terminate()
    this.#worker = undefined
  }

  #tell(order: ScribblerOrder): Promise<void> {
    const worker = this.#worker as Worker
    return new Promise((resolve, reject) => {
      worker.once('error', reject)
      worker.once('message', () => {
        worker.off('error', reject)
        resolve()
      })
      worker.postMessage(order)
    })
  }
}
