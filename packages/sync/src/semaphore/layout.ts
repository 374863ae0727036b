/**
 * A counting semaphore whose permits are cells, each with the name of its holder: what a killed holder had is known.
 *
 * ```
 * byte  0                    36          40                              40 + 4 * permits
 *       +-------- … ---------+-----------+------------+---- … -----------+
 *       | wait set           | 0         | cell 0     | cell 1 …         |
 *       +-------- … ---------+-----------+------------+---- … -----------+
 * ```
 *
 * | word | written by                                       | read by  | its writer is killed right after               |
 * |------|--------------------------------------------------|----------|------------------------------------------------|
 * | cell | 0 = free. CAS from 0 to a peer id: its holder;   | everyone | a holder is dead: CAS from its id to 0, by     |
 * |      | from that id to 0: the holder, a sweep, whoever  |          | whoever proves it, or by the sweep. Freed, and |
 * |      | has proven the death                             |          | nobody woken: see WaiterSet                      |
 */
export const WAIT_SET_OFFSET = 0
export const CELLS_OFFSET = 40

/** A try looks at every cell. */
export const PERMITS_MAX = 4096
