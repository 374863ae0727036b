/** Thrown at an operation to unwind an agent that has crashed, or whose schedule is over. No scenario may handle it. */
export class Halt extends Error {
  override readonly name = 'Halt'

  constructor() {
    super('This agent goes no further')
  }
}
