// The broadcast ring of packages/ring in C++: the same algorithm and sizes of records, without the checks of what the other
// process wrote, without roles, fragments and sleeping. See packages/ring/src/broadcast/layout.ts for the words. A position is one
// word of 64 bits here.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "spsc-ring.h"

namespace isthmus {

constexpr uint32_t READERS_MAX = 16;
constexpr uint32_t CHECKPOINTS = 16;
constexpr uint32_t INTENT_STEPS = 8;

struct NumberedHeader {
  uint32_t byteLength;
  uint32_t kind;
  uint64_t number;
};

// Of one reader, up to which it has read.
struct alignas(SEPARATION) Gate {
  std::atomic<uint64_t> read{0};
};

struct BroadcastPositions {
  alignas(SEPARATION) std::atomic<uint64_t> write{0};
  alignas(SEPARATION) std::atomic<uint64_t> intent{0};
  alignas(SEPARATION) std::atomic<uint64_t> checkpoints[CHECKPOINTS] = {};
  Gate gates[READERS_MAX];
};

inline uint32_t numberedRecordBytesOf(uint32_t byteLength) {
  return (byteLength + static_cast<uint32_t>(sizeof(NumberedHeader)) + 7) & ~7U;
}

class BroadcastPublisher {
 public:
  // Without gates it overwrites what no reader has read.
  BroadcastPublisher(BroadcastPositions& positions, uint8_t* records, uint32_t capacityBytes, uint32_t gates)
      : positions_(positions),
        records_(records),
        capacityBytes_(capacityBytes),
        gates_(gates),
        sixteenthShift_(static_cast<uint32_t>(__builtin_ctz(capacityBytes / CHECKPOINTS))) {}

  // Returns where to write the payload, or a null pointer if the ring is full.
  uint8_t* tryClaim(uint32_t byteLength) {
    const uint32_t recordBytes = numberedRecordBytesOf(byteLength);
    const bool hasRoom = writableUntil_ >= position_ + recordBytes;
    if (!hasRoom && !makeRoom(recordBytes)) return nullptr;
    uint8_t* record = records_ + indexOf(position_);
    *reinterpret_cast<NumberedHeader*>(record) = {byteLength, DATA, number_};
    claimEnd_ = position_ + recordBytes;
    return record + sizeof(NumberedHeader);
  }

  // Ends the claim; publish makes it visible.
  void commit() {
    position_ = claimEnd_;
    number_++;
  }

  void publish() {
    if (published_ == position_) return;
    // SYNC records visible to readers
    positions_.write.store(position_, std::memory_order_release);
    const uint64_t sixteenth = position_ >> sixteenthShift_;
    if (sixteenth != published_ >> sixteenthShift_) {
      positions_.checkpoints[sixteenth % CHECKPOINTS].store(position_, std::memory_order_release);
    }
    published_ = position_;
  }

 private:
  bool makeRoom(uint32_t recordBytes) {
    const uint32_t bytesUntilEnd = capacityBytes_ - indexOf(position_);
    const bool needsPadding = recordBytes > bytesUntilEnd;
    const uint64_t end = position_ + recordBytes + (needsPadding ? bytesUntilEnd : 0);
    if (end > limit_) limit_ = keptFrom() + capacityBytes_;
    if (end > limit_) {
      publish();
      limit_ = keptFrom() + capacityBytes_;
      if (end > limit_) return false;
    }
    if (end > intent_) {
      intent_ = std::min(end + capacityBytes_ / INTENT_STEPS, limit_);
      // SYNC intent visible to readers: before any byte that is written because of it
      positions_.intent.store(intent_, std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_release);
    }
    if (needsPadding) {
      const auto paddingBytes = static_cast<uint32_t>(bytesUntilEnd - sizeof(RecordHeader));
      *reinterpret_cast<RecordHeader*>(records_ + indexOf(position_)) = {paddingBytes, PADDING};
      position_ += bytesUntilEnd;
    }
    const uint64_t ringEnd = position_ + capacityBytes_ - indexOf(position_);
    writableUntil_ = std::min(std::min(intent_, limit_), ringEnd);
    return true;
  }

  uint64_t keptFrom() const {
    uint64_t kept = published_;
    for (uint32_t gate = 0; gate < gates_; gate++) {
      // SYNC space visible to publisher
      kept = std::min(kept, positions_.gates[gate].read.load(std::memory_order_acquire));
    }
    return kept;
  }

  uint32_t indexOf(uint64_t position) const { return static_cast<uint32_t>(position) & (capacityBytes_ - 1); }

  BroadcastPositions& positions_;
  uint8_t* const records_;
  const uint32_t capacityBytes_;
  const uint32_t gates_;
  const uint32_t sixteenthShift_;
  uint64_t position_ = 0;
  uint64_t claimEnd_ = 0;
  uint64_t published_ = 0;
  uint64_t number_ = 0;
  // Records fit up to this position: they overwrite none that must stay, and do not cross the ring's end.
  uint64_t writableUntil_ = 0;
  uint64_t limit_ = 0;
  uint64_t intent_ = 0;
};

// Reads from the beginning of the ring on. One with a gate is never overrun.
template <bool IsGating>
class BroadcastReader {
 public:
  BroadcastReader(BroadcastPositions& positions, const uint8_t* records, uint32_t capacityBytes, uint32_t reader)
      : positions_(positions), records_(records), capacityBytes_(capacityBytes), gate_(positions.gates[reader]) {}

  // Reads every message that is there now: read(const uint8_t* payload, uint32_t byteLength) gives what it has read, and take(that,
  // number) is called if the message was whole meanwhile. Returns whether there was any.
  template <typename Read, typename Take>
  bool drain(Read&& read, Take&& take) {
    if (position_ == writePosition_) {
      // SYNC records visible to readers
      writePosition_ = positions_.write.load(std::memory_order_acquire);
      if (position_ == writePosition_) {
        returnSpace();
        return false;
      }
    }
    while (position_ != writePosition_) {
      const uint8_t* record = records_ + (static_cast<uint32_t>(position_) & (capacityBytes_ - 1));
      const NumberedHeader header = *reinterpret_cast<const NumberedHeader*>(record);
      if (header.kind == DATA) {
        // What was overwritten may say anything.
        if (!IsGating && !isIntact()) return skip();
        const auto found = read(record + sizeof(NumberedHeader), header.byteLength);
        if (!IsGating && !isIntact()) return skip();
        position_ += numberedRecordBytesOf(header.byteLength);
        take(found, header.number);
      } else {
        if (!IsGating && !isIntact()) return skip();
        position_ += recordBytesOf(header.byteLength);
      }
      if (IsGating && position_ - returnedPosition_ >= capacityBytes_ / 4) returnSpace();
    }
    return true;
  }

 private:
  bool isIntact() const {
    // SYNC intent visible to readers: before any byte that is written because of it
    std::atomic_thread_fence(std::memory_order_acquire);
    return positions_.intent.load(std::memory_order_relaxed) - position_ <= capacityBytes_;
  }

  // Goes on at the oldest checkpoint that is at most half a ring behind.
  bool skip() {
    writePosition_ = positions_.write.load(std::memory_order_acquire);
    position_ = writePosition_;
    for (const auto& checkpoint : positions_.checkpoints) {
      const uint64_t found = checkpoint.load(std::memory_order_acquire);
      if (found != 0 && found < position_ && writePosition_ - found <= capacityBytes_ / 2) position_ = found;
    }
    return true;
  }

  void returnSpace() {
    if (!IsGating || returnedPosition_ == position_) return;
    returnedPosition_ = position_;
    // SYNC space visible to publisher
    gate_.read.store(position_, std::memory_order_release);
  }

  BroadcastPositions& positions_;
  const uint8_t* const records_;
  const uint32_t capacityBytes_;
  Gate& gate_;
  uint64_t position_ = 0;
  uint64_t returnedPosition_ = 0;
  // The write position as last seen.
  uint64_t writePosition_ = 0;
};

}  // namespace isthmus
