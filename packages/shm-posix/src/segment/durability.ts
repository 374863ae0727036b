import { IsthmusError } from '@isthmus/sync'
import type { PeerTable, Sweep } from '@isthmus/sync/internal'
import { bootIdIn, currentBootId, writeBootId } from './boot-id.js'
import type { FileImage } from './file-image.js'
import { type HeaderLockDeadline, isHeaderLocked, type LockedFile, withHeaderLock } from './header-lock.js'

/** How often a checksum is computed outside of the lock before it is computed under it. */
const READINGS_MAX = 4

/** What the owner of an attachment contributes to the steps under the header lock. */
export interface Joining {
  /** Whether the segment has not been removed since it was opened. */
  isStillThere(): boolean
  /** Gives back what a dead peer held in the structures. */
  readonly sweep: Sweep
  /** Repairs the structures of a file that was changed after its last flush. */
  recover(): void
  /** Whether to recover such a file. If not, it is refused. */
  readonly mayRecover: boolean
  readonly deadline: HeaderLockDeadline
}

/**
 * Lets a segment file survive restarts of the machine. The header contains the id of the boot in which the file was last
 * in use, and the checksum of its content at the last flush. After a restart, the first peer that opens the file compares:
 * if the checksum fits, the file is clean; otherwise it is refused, or recovered on request.
 *
 * Computing the checksum of a large file takes long, so it is done before the header lock is asked for. A count of
 * attachments tells, under the lock, whether a peer was there meanwhile, which may have changed the content.
 */
export class Durability {
  readonly #file: LockedFile
  readonly #image: FileImage
  readonly #peers: PeerTable

  constructor(file: LockedFile, image: FileImage, peers: PeerTable) {
    this.#file = file
    this.#image = image
    this.#peers = peers
  }

  /**
   * Attaches to the file; see SegmentAttachment.join for the short form. Steps: (1) after a restart, compute the checksum;
   * (2) if it does not fit and the caller does not recover, refuse the file, without the lock, which would leave traces in
   * it; (3) take the header lock; (4) check that the file has not been removed; (5) if the file is still of another boot,
   * check the checksum of (1), or begin again if a peer was there meanwhile (the fourth time, compute it here); (6) recover
   * the file, or only count the attachment; (7) claim a slot; (8) leave the lock.
   */
  join(joining: Joining, claimSlot: () => void, sweepDead: () => void): boolean {
    const image = this.#image
    const { deadline, mayRecover } = joining
    for (let readings = 1; ; readings++) {
      const { attachments } = image
      const checksum = this.#isOfAnotherBoot() ? image.checksum() : undefined
      const isUnclean = checksum !== undefined && !image.isClean(checksum) && !mayRecover
      const isBeingRecovered = () => isHeaderLocked(this.#file) || image.attachments !== attachments
      if (isUnclean && joining.isStillThere() && !isBeingRecovered() && this.#isOfAnotherBoot()) {
        throw uncleanError(this.#file.subject)
      }
      const outcome = withHeaderLock(this.#file, 'attaching', deadline, (note) => {
        if (!joining.isStillThere()) return 'gone'
        if (this.#isOfAnotherBoot()) {
          const isFresh = checksum !== undefined && image.attachments === attachments
          if (!isFresh && readings < READINGS_MAX) return 'changed'
          const isClean = image.isClean(isFresh ? checksum : image.checksum(() => note('checking')))
          if (!isClean && !mayRecover) throw uncleanError(this.#file.subject)
          note('recovering')
          this.#recover(isClean, sweepDead, joining.recover)
        } else {
          image.countAttachment()
        }
        claimSlot()
        return 'attached'
      })
      if (outcome !== 'changed') return outcome === 'attached'
    }
  }

  /** Reads and writes back the file without the lock; under it, stores the checksum only. See FileImage.store. */
  flush(deadline: HeaderLockDeadline): void {
    const image = this.#image
    const reading = image.read()
    image.writeBack()
    withHeaderLock(this.#file, 'flushing', deadline, () => image.store(reading))
    image.writeBackHeader()
  }

  /**
   * Gives the peer slot back; the last peer flushes before. Every peer checks under the lock whether it is the last one,
   * and releases its slot under it: if two close at once, the second one finds itself alone.
   *
   * Steps: (1) if this peer seems to be the last one, read the file and write it back; (2) take the header lock; (3) if
   * this peer is the last one and another one was there during (1), begin again (the fourth time, read the file here);
   * (4) as the last one, store the checksum; (5) release the slot; (6) leave the lock; (7) write back what (4) stored.
   */
  leave(deadline: HeaderLockDeadline): void {
    const image = this.#image
    let outcome: 'changed' | 'left' | 'flushed' | 'flushed under the lock' = 'changed'
    for (let readings = 1; outcome === 'changed'; readings++) {
      // Read before the peers are checked: a peer that attaches after this is counted.
      const { attachments } = image
      const reading = this.#isLastPeer() ? image.read() : undefined
      if (reading !== undefined) image.writeBack()
      outcome = withHeaderLock(this.#file, 'closing', deadline, (note) => {
        const isLast = this.#isLastPeer()
        const isFresh = reading !== undefined && image.attachments === attachments
        if (isLast && !isFresh && readings < READINGS_MAX) return 'changed'
        if (isLast) image.store(isFresh ? reading : image.read(() => note('flushing')))
        this.#peers.release()
        if (!isLast) return 'left'
        return isFresh ? 'flushed' : 'flushed under the lock'
      })
    }
    if (outcome === 'flushed') image.writeBackHeader()
    if (outcome === 'flushed under the lock') image.writeBack()
  }

  /** Prepares the file for its first peer after a restart, under the lock: it contains what had reached the disk. */
  #recover(isClean: boolean, sweepDead: () => void, recoverStructures: () => void): void {
    const { words } = this.#image
    this.#image.countAttachment()
    // From here on a clean file is like any segment whose peers have died. If we are killed while we sweep, the next
    // holders of the slots sweep the rest; the checksum, which does not cover a sweep, is not checked again.
    if (isClean) writeBootId(words, currentBootId())
    sweepDead()
    if (isClean) return
    // If we are killed before the last step, the old boot id is still there, and the next peer recovers again.
    recoverStructures()
    writeBootId(words, currentBootId())
  }

  /** Whether no peer has opened this file since the machine was started. Then all its peers are dead. */
  #isOfAnotherBoot(): boolean {
    return bootIdIn(this.#image.words) !== currentBootId() && !this.#hasLivePeer()
  }

  /** A live peer means that the machine has not restarted, even if the boot id differs, as in some containers. */
  #hasLivePeer(): boolean {
    return this.#peers.list().some(({ isDead }) => !isDead)
  }

  #isLastPeer(): boolean {
    const { self } = this.#peers
    return !this.#peers.list().some(({ peer, isDead }) => peer !== self && !isDead)
  }
}

function uncleanError(subject: string): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_UNCLEAN',
    `Opening ${subject}: it was changed after its last flush, and then the machine went down. ` +
      'Open it with { recover: true } to keep what is consistent, or remove it.',
  )
}
