// Times the native broadcast ring between processes, by the rules of src/scenarios/one-to-many-throughput.ts: warm up in growing
// transfers, meet, transfer for about as long as asked. The time is the last stop minus the first start, the messages are those
// that a reader has received, on average. Every message is checked. Prints one line: {"seconds":…,"messages":…}
//
//   broadcast-ring gated|lossy claim|copy readers messageBytes capacityBytes batchMessages warmUpMs targetMs
//
// claim: messages are written and read in place, all their words; copy: they are copied in and copied out.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "broadcast-ring.h"
#include "two-sides.h"

namespace {

using isthmus::BroadcastPublisher;
using isthmus::BroadcastReader;
using isthmus::fail;
using isthmus::nowNs;

constexpr uint32_t FIRST_MESSAGES = 16;
constexpr uint32_t GROWTH = 2;
constexpr uint32_t LONG_TRANSFERS = 8;
constexpr uint32_t MESSAGES_MAX = 1U << 27;
constexpr uint32_t LOOKS_BETWEEN_YIELDS = 64;
constexpr uint32_t CLAIMED_WORDS = 16;
constexpr uint32_t SUM_OF_WORD_NUMBERS = CLAIMED_WORDS * (CLAIMED_WORDS - 1) / 2;

struct Work {
  bool isGated;
  bool isCopying;
  uint32_t readers;
  uint32_t messageBytes;
  uint32_t capacityBytes;
  uint32_t batchMessages;
  double warmUpMs;
  double targetMs;

  uint32_t sides() const { return 1 + readers; }
};

struct alignas(isthmus::SEPARATION) Line {
  double startNs = 0;
  double stopNs = 0;
  // In the last transfer.
  uint32_t received = 0;
};

struct Shared {
  isthmus::BroadcastPositions positions;
  isthmus::Meeting meeting;
  // Announced by the publisher before a meeting.
  uint32_t messages = FIRST_MESSAGES;
  bool isTimed = false;
  Line publisher;
  Line readers[isthmus::READERS_MAX];
  alignas(isthmus::SEPARATION) uint8_t records[1];
};

// A waiting side leaves its core to the others: there may be more sides than cores.
class Patience {
 public:
  void wait() {
    isthmus::pauseSpinning();
    if (++looks_ % LOOKS_BETWEEN_YIELDS == 0) sched_yield();
  }

 private:
  uint32_t looks_ = 0;
};

// Returns whether this was the timed transfer.
template <typename Transfer>
bool timeTransfer(Shared& shared, const Work& work, Line& line, Transfer&& transfer) {
  shared.meeting.meet(work.sides());
  const uint32_t messages = shared.messages;
  const bool isTimed = shared.isTimed;
  line.startNs = nowNs();
  transfer(messages);
  line.stopNs = nowNs();
  shared.meeting.meet(work.sides());
  return isTimed;
}

// The sequence number stands at both ends of a copied message.
void stamp(uint8_t* message, uint32_t byteLength, uint32_t sequence) {
  std::memcpy(message, &sequence, 4);
  std::memcpy(message + byteLength - 4, &sequence, 4);
}

class Sender {
 public:
  Sender(Shared& shared, const Work& work)
      : work_(work),
        publisher_(shared.positions, shared.records, work.capacityBytes, work.isGated ? work.readers : 0),
        message_(work.messageBytes, 1) {}

  void send(uint32_t messages) {
    for (const uint32_t end = sequence_ + messages; sequence_ != end;) {
      const uint32_t batchEnd = sequence_ + std::min(work_.batchMessages, end - sequence_);
      for (; sequence_ != batchEnd; sequence_++) {
        uint8_t* payload = claim();
        if (work_.isCopying) {
          stamp(message_.data(), work_.messageBytes, sequence_);
          std::memcpy(payload, message_.data(), work_.messageBytes);
        } else {
          auto* words = reinterpret_cast<uint32_t*>(payload);
          for (uint32_t word = 0; word < CLAIMED_WORDS; word++) words[word] = sequence_ + word;
        }
        publisher_.commit();
      }
      publisher_.publish();
    }
  }

 private:
  uint8_t* claim() {
    uint8_t* payload = publisher_.tryClaim(work_.messageBytes);
    for (Patience patience; payload == nullptr; payload = publisher_.tryClaim(work_.messageBytes)) patience.wait();
    return payload;
  }

  const Work& work_;
  BroadcastPublisher publisher_;
  std::vector<uint8_t> message_;
  uint32_t sequence_ = 0;
};

struct Found {
  uint32_t sequence;
  bool isRight;
};

template <bool IsGating>
class Receiver {
 public:
  Receiver(Shared& shared, const Work& work, uint32_t index)
      : work_(work),
        reader_(shared.positions, shared.records, work.capacityBytes, index),
        message_(work.messageBytes) {}

  // Returns how many it has received; the others were lost.
  uint32_t receive(uint32_t messages) {
    const uint32_t end = next_ + messages;
    uint32_t received = 0;
    Patience patience;
    const auto take = [&](const Found& found, uint64_t number) {
      const bool isNext = IsGating ? found.sequence == next_ : found.sequence - next_ < end - next_;
      if (!found.isRight || !isNext || static_cast<uint32_t>(number) != found.sequence) {
        fail("message " + std::to_string(found.sequence) + " is wrong or out of order");
      }
      next_ = found.sequence + 1;
      received++;
    };
    while (next_ != end) {
      const bool isAny = work_.isCopying
          ? reader_.drain([&](const uint8_t* payload, uint32_t byteLength) { return copyOf(payload, byteLength); }, take)
          : reader_.drain([&](const uint8_t* payload, uint32_t byteLength) { return sumOf(payload, byteLength); }, take);
      if (!isAny) patience.wait();
    }
    return received;
  }

 private:
  // Bytes that a lossy reader sees may be overwritten: they are judged when that is known.
  Found sumOf(const uint8_t* payload, uint32_t byteLength) const {
    const auto* words = reinterpret_cast<const uint32_t*>(payload);
    const uint32_t sequence = words[0];
    uint32_t sum = 0;
    for (uint32_t word = 0; word < CLAIMED_WORDS; word++) sum += words[word];
    const bool isRight = byteLength == work_.messageBytes && sum == sequence * CLAIMED_WORDS + SUM_OF_WORD_NUMBERS;
    return {sequence, isRight};
  }

  Found copyOf(const uint8_t* payload, uint32_t byteLength) {
    std::memcpy(message_.data(), payload, std::min(byteLength, work_.messageBytes));
    uint32_t sequence = 0;
    std::memcpy(&sequence, message_.data(), 4);
    const bool isStamped = std::memcmp(message_.data() + work_.messageBytes - 4, &sequence, 4) == 0;
    return {sequence, byteLength == work_.messageBytes && isStamped};
  }

  const Work& work_;
  BroadcastReader<IsGating> reader_;
  std::vector<uint8_t> message_;
  uint32_t next_ = 0;
};

// The publisher announces the transfers.
void publish(Shared& shared, const Work& work) {
  Sender sender(shared, work);
  uint32_t longTransfers = 0;
  double messagesPerMsMax = 0;
  while (!timeTransfer(shared, work, shared.publisher, [&](uint32_t messages) { sender.send(messages); })) {
    const double elapsedMs = (nowNs() - shared.publisher.startNs) / 1e6;
    const bool isLong = elapsedMs >= work.warmUpMs / LONG_TRANSFERS;
    double next = shared.messages;
    if (!isLong) {
      next *= GROWTH;
    } else {
      messagesPerMsMax = std::max(messagesPerMsMax, next / elapsedMs);
      shared.isTimed = ++longTransfers == LONG_TRANSFERS;
      if (shared.isTimed) next = std::ceil(messagesPerMsMax * work.targetMs);
    }
    shared.messages = static_cast<uint32_t>(std::min<double>(next, MESSAGES_MAX));
  }
}

template <bool IsGating>
void read(Shared& shared, const Work& work, uint32_t index) {
  Receiver<IsGating> receiver(shared, work, index);
  Line& line = shared.readers[index];
  while (!timeTransfer(shared, work, line, [&](uint32_t messages) { line.received = receiver.receive(messages); })) continue;
}

Work parseWork(int count, char** texts) {
  if (count != 9) fail("give eight arguments; see the head of the source");
  Work work{};
  work.isGated = std::string(texts[1]) == "gated";
  work.isCopying = std::string(texts[2]) == "copy";
  const auto number = [&](int index) { return static_cast<uint32_t>(std::strtoul(texts[index], nullptr, 10)); };
  work.readers = number(3);
  work.messageBytes = number(4);
  work.capacityBytes = number(5);
  work.batchMessages = number(6);
  work.warmUpMs = std::strtod(texts[7], nullptr);
  work.targetMs = std::strtod(texts[8], nullptr);
  const bool isPowerOfTwo = work.capacityBytes >= 1024 && (work.capacityBytes & (work.capacityBytes - 1)) == 0;
  const bool fits = isthmus::numberedRecordBytesOf(work.messageBytes) <= work.capacityBytes / 2;
  if (work.readers == 0 || work.readers > isthmus::READERS_MAX) fail("give 1 to 16 readers");
  if (work.batchMessages == 0) fail("a batch has at least one message");
  if (!isPowerOfTwo || !fits || work.messageBytes < 4) fail("the capacity is no power of two, or no message fits");
  if (!work.isCopying && work.messageBytes != CLAIMED_WORDS * 4) fail("claim takes messages of 64 bytes");
  return work;
}

}  // namespace

int main(int count, char** texts) {
  const Work work = parseWork(count, texts);
  Shared& shared = *isthmus::mapShared<Shared>(work.capacityBytes);
  std::vector<pid_t> sides = {isthmus::startSide([&] { publish(shared, work); })};
  for (uint32_t index = 0; index < work.readers; index++) {
    sides.push_back(isthmus::startSide([&] {
      if (work.isGated) {
        read<true>(shared, work, index);
      } else {
        read<false>(shared, work, index);
      }
    }));
  }
  isthmus::awaitSides(sides);
  double stopNs = 0;
  double received = 0;
  for (uint32_t index = 0; index < work.readers; index++) {
    stopNs = std::max(stopNs, shared.readers[index].stopNs);
    received += shared.readers[index].received;
  }
  const double seconds = (stopNs - shared.publisher.startNs) / 1e9;
  std::printf("{\"seconds\":%.9f,\"messages\":%.0f}\n", seconds, received / work.readers);
  return 0;
}
