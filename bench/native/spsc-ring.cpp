// Times the native ring between two processes, by the rules of src/harness/timed-transfers.ts: warm up in growing
// transfers, meet, transfer for about as long as asked; time is the last stop minus the first start. The consumer checks
// every message. Prints one line: {"seconds":…,"messages":…}
//
//   spsc-ring claim|copy messageBytes capacityBytes batchMessages touchedWords warmUpMs targetMs
//
// claim: messages are written and read in place; copy: they are copied in and copied out.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "spsc-ring.h"
#include "two-sides.h"

namespace {

using isthmus::Consumer;
using isthmus::fail;
using isthmus::nowNs;
using isthmus::Producer;

constexpr uint32_t FIRST_MESSAGES = 16;
constexpr uint32_t GROWTH = 2;
constexpr uint32_t LONG_TRANSFERS = 8;
constexpr uint32_t MESSAGES_MAX = 1U << 31;

struct Work {
  bool isCopying;
  uint32_t messageBytes;
  uint32_t capacityBytes;
  uint32_t batchMessages;
  uint32_t touchedWords;
  double warmUpMs;
  double targetMs;

  uint32_t maxRecordBytes() const { return capacityBytes / 2 - static_cast<uint32_t>(sizeof(isthmus::RecordHeader)); }
};

struct Span {
  double startNs;
  double stopNs;
};

struct Shared {
  isthmus::Positions positions;
  isthmus::Meeting meeting;
  // Announced by the producer before a meeting.
  uint32_t messages = FIRST_MESSAGES;
  bool isTimed = false;
  Span producer{};
  Span consumer{};
  alignas(isthmus::SEPARATION) uint8_t records[1];
};

uint8_t* claim(Producer& producer, uint32_t byteLength) {
  uint8_t* payload = producer.tryClaim(byteLength);
  while (payload == nullptr) {
    isthmus::pauseSpinning();
    payload = producer.tryClaim(byteLength);
  }
  return payload;
}

void checkMessage(bool isRight, uint32_t sequence) {
  if (!isRight) fail("message " + std::to_string(sequence) + " arrived wrong");
}

template <uint32_t TouchedWords>
void sendClaimed(Producer& producer, const Work& work, uint32_t messages) {
  for (uint32_t sequence = 0; sequence < messages;) {
    const uint32_t batchEnd = std::min(sequence + work.batchMessages, messages);
    for (; sequence < batchEnd; sequence++) {
      auto* words = reinterpret_cast<uint32_t*>(claim(producer, work.messageBytes));
      for (uint32_t word = 0; word < TouchedWords; word++) words[word] = sequence + word;
      producer.commit();
    }
    producer.publish();
  }
}

template <uint32_t TouchedWords>
void receiveClaimed(Consumer& consumer, const Work& work, uint32_t messages) {
  constexpr uint32_t SUM_OF_WORD_NUMBERS = TouchedWords * (TouchedWords - 1) / 2;
  uint32_t sequence = 0;
  while (sequence < messages) {
    consumer.drain([&](const uint8_t* payload, uint32_t byteLength) {
      const auto* words = reinterpret_cast<const uint32_t*>(payload);
      uint32_t sum = 0;
      for (uint32_t word = 0; word < TouchedWords; word++) sum += words[word];
      const uint32_t expected = sequence * TouchedWords + SUM_OF_WORD_NUMBERS;
      checkMessage(byteLength == work.messageBytes && sum == expected, sequence);
      sequence++;
    });
  }
}

// The sequence number stands at both ends of a copied message.
void stamp(uint8_t* message, uint32_t byteLength, uint32_t sequence) {
  std::memcpy(message, &sequence, 4);
  std::memcpy(message + byteLength - 4, &sequence, 4);
}

bool isStamped(const uint8_t* message, uint32_t byteLength, uint32_t sequence) {
  return std::memcmp(message, &sequence, 4) == 0 && std::memcmp(message + byteLength - 4, &sequence, 4) == 0;
}

// A message that does not fit into one record travels in several.
void sendCopied(Producer& producer, const Work& work, std::vector<uint8_t>& message, uint32_t messages) {
  for (uint32_t sequence = 0; sequence < messages; sequence++) {
    stamp(message.data(), work.messageBytes, sequence);
    for (uint32_t sent = 0; sent < work.messageBytes;) {
      const uint32_t partBytes = std::min(work.messageBytes - sent, work.maxRecordBytes());
      std::memcpy(claim(producer, partBytes), message.data() + sent, partBytes);
      producer.commit();
      sent += partBytes;
      if (sent < work.messageBytes) producer.publish();
    }
    if ((sequence + 1) % work.batchMessages == 0) producer.publish();
  }
  producer.publish();
}

void receiveCopied(Consumer& consumer, const Work& work, std::vector<uint8_t>& message, uint32_t messages) {
  uint32_t sequence = 0;
  uint32_t received = 0;
  while (sequence < messages) {
    consumer.drain([&](const uint8_t* payload, uint32_t byteLength) {
      checkMessage(received + byteLength <= work.messageBytes, sequence);
      std::memcpy(message.data() + received, payload, byteLength);
      received += byteLength;
      if (received < work.messageBytes) return;
      checkMessage(isStamped(message.data(), work.messageBytes, sequence), sequence);
      received = 0;
      sequence++;
    });
  }
}

// Returns whether this was the timed transfer.
template <typename Transfer>
bool timeTransfer(Shared& shared, Span& span, Transfer&& transfer) {
  shared.meeting.meet();
  const uint32_t messages = shared.messages;
  const bool isTimed = shared.isTimed;
  const double startNs = nowNs();
  transfer(messages);
  span = {startNs, nowNs()};
  shared.meeting.meet();
  return isTimed;
}

void produce(Shared& shared, const Work& work) {
  Producer producer(shared.positions, shared.records, work.capacityBytes);
  std::vector<uint8_t> message(work.messageBytes, 1);
  const auto transfer = [&](uint32_t messages) {
    if (work.isCopying) return sendCopied(producer, work, message, messages);
    if (work.touchedWords == 1) return sendClaimed<1>(producer, work, messages);
    if (work.touchedWords == 2) return sendClaimed<2>(producer, work, messages);
    if (work.touchedWords == 16) return sendClaimed<16>(producer, work, messages);
    return sendClaimed<256>(producer, work, messages);
  };
  uint32_t longTransfers = 0;
  double messagesPerMsMax = 0;
  while (!timeTransfer(shared, shared.producer, transfer)) {
    const double elapsedMs = (nowNs() - shared.producer.startNs) / 1e6;
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

void consume(Shared& shared, const Work& work) {
  Consumer consumer(shared.positions, shared.records, work.capacityBytes);
  std::vector<uint8_t> message(work.messageBytes);
  const auto transfer = [&](uint32_t messages) {
    if (work.isCopying) return receiveCopied(consumer, work, message, messages);
    if (work.touchedWords == 1) return receiveClaimed<1>(consumer, work, messages);
    if (work.touchedWords == 2) return receiveClaimed<2>(consumer, work, messages);
    if (work.touchedWords == 16) return receiveClaimed<16>(consumer, work, messages);
    return receiveClaimed<256>(consumer, work, messages);
  };
  while (!timeTransfer(shared, shared.consumer, transfer)) continue;
}

Work parseWork(int count, char** texts) {
  if (count != 8) fail("give seven arguments; see the head of the source");
  const auto number = [&](int index) { return static_cast<uint32_t>(std::strtoul(texts[index], nullptr, 10)); };
  Work work{};
  work.isCopying = std::string(texts[1]) == "copy";
  work.messageBytes = number(2);
  work.capacityBytes = number(3);
  work.batchMessages = number(4);
  work.touchedWords = number(5);
  work.warmUpMs = number(6);
  work.targetMs = number(7);
  const bool isPowerOfTwo = work.capacityBytes >= 64 && (work.capacityBytes & (work.capacityBytes - 1)) == 0;
  const bool fitsOneRecord = work.messageBytes <= work.maxRecordBytes();
  const uint32_t words = work.touchedWords;
  const bool isKnownCount = words == 1 || words == 2 || words == 16 || words == 256;
  const bool isClaimable = fitsOneRecord && isKnownCount && words * 4 <= work.messageBytes;
  if (work.batchMessages == 0) fail("a batch has at least one message");
  if (!isPowerOfTwo || work.messageBytes < 4) fail("the capacity is no power of two, or a message is below 4 bytes");
  if (!work.isCopying && !isClaimable) fail("claim takes messages of one record, with 1, 2, 16 or 256 words touched");
  return work;
}

}  // namespace

int main(int count, char** texts) {
  const Work work = parseWork(count, texts);
  Shared& shared = *isthmus::mapShared<Shared>(work.capacityBytes);
  isthmus::runSides([&] { produce(shared, work); }, [&] { consume(shared, work); });
  const double startNs = std::min(shared.producer.startNs, shared.consumer.startNs);
  const double stopNs = std::max(shared.producer.stopNs, shared.consumer.stopNs);
  std::printf("{\"seconds\":%.9f,\"messages\":%u}\n", (stopNs - startNs) / 1e9, shared.messages);
  return 0;
}
