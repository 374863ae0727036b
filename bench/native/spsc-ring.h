// The ring of packages/ring in C++: the same algorithm and records, without the checks of what the other process wrote,
// without roles and without sleeping. See packages/ring/src/spsc/layout.ts for the words.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace isthmus {

constexpr uint32_t DATA = 1;
constexpr uint32_t PADDING = 2;
// Two cache lines, since the hardware fetches them in pairs.
constexpr size_t SEPARATION = 128;

struct RecordHeader {
  uint32_t byteLength;
  uint32_t kind;
};

struct Positions {
  alignas(SEPARATION) std::atomic<uint32_t> write{0};
  alignas(SEPARATION) std::atomic<uint32_t> read{0};
};

inline uint32_t recordBytesOf(uint32_t byteLength) {
  return (byteLength + static_cast<uint32_t>(sizeof(RecordHeader)) + 7) & ~7U;
}

// Whether position a comes before position b; both run freely and wrap at 32 bits.
inline bool isBehind(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }

// Tells the core that this is a spin loop.
inline void pauseSpinning() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Producer {
 public:
  Producer(Positions& positions, uint8_t* records, uint32_t capacityBytes)
      : positions_(positions), records_(records), capacityBytes_(capacityBytes), indexMask_(capacityBytes - 1) {}

  // Returns where to write the payload, or a null pointer if the ring is full.
  uint8_t* tryClaim(uint32_t byteLength) {
    const uint32_t recordBytes = recordBytesOf(byteLength);
    const bool hasRoom = writableUntil_ - position_ >= recordBytes;
    if (!hasRoom && !makeRoom(recordBytes)) return nullptr;
    claimEnd_ = position_ + recordBytes;
    return writeHeader(position_, byteLength, DATA);
  }

  // Ends the claim; publish makes it visible.
  void commit() { position_ = claimEnd_; }

  void publish() {
    if (published_ == position_) return;
    published_ = position_;
    // SYNC records visible to consumer
    positions_.write.store(position_, std::memory_order_release);
  }

 private:
  bool makeRoom(uint32_t recordBytes) {
    const uint32_t bytesUntilEnd = capacityBytes_ - (position_ & indexMask_);
    const bool needsPadding = recordBytes > bytesUntilEnd;
    const uint32_t neededBytes = recordBytes + (needsPadding ? bytesUntilEnd : 0);
    // Possibly full: load the read position again. If it is really full, publish everything.
    if (freeBytes() < neededBytes) {
      // SYNC space visible to producer
      readPosition_ = positions_.read.load(std::memory_order_acquire);
    }
    if (freeBytes() < neededBytes) {
      publish();
      return false;
    }
    if (needsPadding) {
      writeHeader(position_, bytesUntilEnd - sizeof(RecordHeader), PADDING);
      position_ += bytesUntilEnd;
    }
    const uint32_t unreadLimit = readPosition_ + capacityBytes_;
    const uint32_t ringEnd = position_ + capacityBytes_ - (position_ & indexMask_);
    writableUntil_ = isBehind(unreadLimit, ringEnd) ? unreadLimit : ringEnd;
    return true;
  }

  uint32_t freeBytes() const { return capacityBytes_ - (position_ - readPosition_); }

  uint8_t* writeHeader(uint32_t position, uint32_t byteLength, uint32_t kind) {
    uint8_t* record = records_ + (position & indexMask_);
    *reinterpret_cast<RecordHeader*>(record) = {byteLength, kind};
    return record + sizeof(RecordHeader);
  }

  Positions& positions_;
  uint8_t* const records_;
  const uint32_t capacityBytes_;
  const uint32_t indexMask_;
  uint32_t position_ = 0;
  uint32_t claimEnd_ = 0;
  uint32_t published_ = 0;
  // Records fit up to this position: they neither overwrite unread ones nor cross the ring's end.
  uint32_t writableUntil_ = 0;
  // The read position as last seen.
  uint32_t readPosition_ = 0;
};

class Consumer {
 public:
  Consumer(Positions& positions, const uint8_t* records, uint32_t capacityBytes)
      : positions_(positions), records_(records), indexMask_(capacityBytes - 1), returnStepBytes_(capacityBytes / 4) {}

  // Calls back for every message that is there now, in place: callback(const uint8_t* payload, uint32_t byteLength).
  template <typename Callback>
  void drain(Callback&& callback) {
    if (position_ == writePosition_) {
      // SYNC records visible to consumer
      writePosition_ = positions_.write.load(std::memory_order_acquire);
      if (position_ == writePosition_) {
        returnSpace();
        pauseSpinning();
        return;
      }
    }
    while (position_ != writePosition_) {
      const uint8_t* record = records_ + (position_ & indexMask_);
      const RecordHeader header = *reinterpret_cast<const RecordHeader*>(record);
      position_ += recordBytesOf(header.byteLength);
      if (header.kind == DATA) callback(record + sizeof(RecordHeader), header.byteLength);
      if (position_ - returnedPosition_ >= returnStepBytes_) returnSpace();
    }
  }

 private:
  void returnSpace() {
    if (returnedPosition_ == position_) return;
    returnedPosition_ = position_;
    // SYNC space visible to producer
    positions_.read.store(position_, std::memory_order_release);
  }

  Positions& positions_;
  const uint8_t* const records_;
  const uint32_t indexMask_;
  const uint32_t returnStepBytes_;
  uint32_t position_ = 0;
  uint32_t returnedPosition_ = 0;
  // The write position as last seen.
  uint32_t writePosition_ = 0;
};

}  // namespace isthmus
