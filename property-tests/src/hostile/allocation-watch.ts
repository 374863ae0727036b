/**
 * Watches for the largest array that is made by its length. It replaces the array constructors before the packages are
 * loaded, so an allocation with a hostile length is seen even if its memory is never touched.
 */
export class AllocationWatch {
  #largest = 0

  install(): this {
    const note = (byteLength: unknown, bytesPerElement: number) => {
      if (typeof byteLength === 'number') this.#largest = Math.max(this.#largest, byteLength * bytesPerElement)
    }
    for (const name of ['Uint8Array', 'Int32Array', 'Uint32Array', 'ArrayBuffer'] as const) {
      const Original = globalThis[name] as Uint8ArrayConstructor
      const bytesPerElement = Original.BYTES_PER_ELEMENT ?? 1
      const Watched: Uint8ArrayConstructor = new Proxy(Original, {
        construct(target, parameters, newTarget): object {
          note(parameters[0], bytesPerElement)
          return Reflect.construct(target, parameters, newTarget === Watched ? target : newTarget)
        },
      })
      Object.defineProperty(globalThis, name, { value: Watched, writable: true, configurable: true })
    }
    return this
  }

  /** The largest array since the last call, in bytes. */
  take(): number {
    const largest = this.#largest
    this.#largest = 0
    return largest
  }
}
