// The bounded queue of Dmitry Vyukov (1024cores.net, "Bounded MPMC queue") in shared memory: what native programs use for
// many producers and many consumers. A producer that is stopped between its claim and its publication blocks all others.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "spsc-ring.h"

namespace isthmus {

struct QueuePositions {
  alignas(SEPARATION) std::atomic<uint64_t> enqueue{0};
  alignas(SEPARATION) std::atomic<uint64_t> dequeue{0};
};

// Each cell has its turn in front of its payload: position p may be written if the turn is p, and read if it is p + 1.
class MpmcQueue {
 public:
  MpmcQueue(QueuePositions& positions, uint8_t* cells, uint32_t cellCount, uint32_t payloadBytes)
      : positions_(positions), cells_(cells), mask_(cellCount - 1), strideBytes_(strideBytesOf(payloadBytes)) {}

  static size_t strideBytesOf(uint32_t payloadBytes) { return (sizeof(Turn) + payloadBytes + 63) & ~size_t{63}; }

  // Called once, before any other process uses the queue.
  void initialize() {
    for (uint64_t position = 0; position <= mask_; position++) new (&turnOf(position)) Turn(position);
  }

  // Calls back with the place of the payload: write(uint8_t*). Returns whether there was a free cell.
  template <typename Write>
  bool tryEnqueue(Write&& write) {
    uint64_t position = positions_.enqueue.load(std::memory_order_relaxed);
    for (;;) {
      // SYNC free cell visible to producer
      const uint64_t turn = turnOf(position).load(std::memory_order_acquire);
      const auto ahead = static_cast<int64_t>(turn - position);
      if (ahead < 0) return false;
      if (ahead > 0) {
        position = positions_.enqueue.load(std::memory_order_relaxed);
      } else if (positions_.enqueue.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) {
        break;
      }
    }
    write(payloadOf(position));
    // SYNC message visible to consumer
    turnOf(position).store(position + 1, std::memory_order_release);
    return true;
  }

  // Calls back with the payload, in place: read(const uint8_t*). Returns whether there was a message.
  template <typename Read>
  bool tryDequeue(Read&& read) {
    uint64_t position = positions_.dequeue.load(std::memory_order_relaxed);
    for (;;) {
      // SYNC message visible to consumer
      const uint64_t turn = turnOf(position).load(std::memory_order_acquire);
      const auto ahead = static_cast<int64_t>(turn - (position + 1));
      if (ahead < 0) return false;
      if (ahead > 0) {
        position = positions_.dequeue.load(std::memory_order_relaxed);
      } else if (positions_.dequeue.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) {
        break;
      }
    }
    read(payloadOf(position));
    // SYNC free cell visible to producer
    turnOf(position).store(position + mask_ + 1, std::memory_order_release);
    return true;
  }

 private:
  using Turn = std::atomic<uint64_t>;

  Turn& turnOf(uint64_t position) { return *reinterpret_cast<Turn*>(cells_ + (position & mask_) * strideBytes_); }
  uint8_t* payloadOf(uint64_t position) { return cells_ + (position & mask_) * strideBytes_ + sizeof(Turn); }

  QueuePositions& positions_;
  uint8_t* const cells_;
  const uint64_t mask_;
  const size_t strideBytes_;
};

}  // namespace isthmus
