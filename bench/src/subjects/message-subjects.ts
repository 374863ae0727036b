import { disruptor } from './couriers/disruptor.js'
import { fifo } from './couriers/fifo.js'
import { posixMessageQueue } from './couriers/posix-message-queue.js'
import { ringbuf } from './couriers/ringbuf.js'
import { childProcessAdvanced, childProcessJson } from './messengers/child-process.js'
import { messagePort } from './messengers/message-port.js'
import { pipe } from './messengers/pipe.js'
import { unixSocket } from './messengers/unix-socket.js'
import { zeromq } from './messengers/zeromq.js'
import type { MessageSubject } from './subject.js'

/** What isthmus is compared with, and what is driven by the harness. */
export const peers: readonly MessageSubject[] = [
  unixSocket,
  pipe,
  fifo,
  posixMessageQueue,
  messagePort,
  childProcessJson,
  childProcessAdvanced,
  zeromq,
  disruptor,
  ringbuf,
]
