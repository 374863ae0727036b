// Times the native ring between two processes, by the rules of src/harness/timed-transfers.ts: warm up in growing
// transfers, meet, transfer for about as long as asked; time is the last stop minus the first start. The consumer checks
// every message. Prints one line: {"seconds":…,"messages":…,"bytes":…}
//
//   spsc-ring claim|copy messageBytes capacityBytes batchMessages touchedWords warmUpMs targetMs
//
// claim: messages of 64 bytes are written and read in place; copy: they are copied in and copied out.

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "spsc-ring.h"

namespace {

using isthmus::Consumer;
using isthmus::Producer;

constexpr uint32_t CLAIMED_WORDS = 16;
constexpr uint32_t CLAIMED_BYTES = CLAIMED_WORDS * 4;
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
};

struct Span {
  double startMs;
  double stopMs;
};

struct Shared {
  isthmus::Positions positions;
  alignas(isthmus::SEPARATION) std::atomic<uint32_t> arrivals{0};
  // Announced by the producer before a meeting.
  uint32_t messages = FIRST_MESSAGES;
  bool isTimed = false;
  Span producer{};
  Span consumer{};
  alignas(isthmus::SEPARATION) uint8_t records[1];
};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "spsc-ring: %s\n", what.c_str());
  std::_Exit(1);
}

double nowMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

void meet(Shared& shared) {
  const uint32_t meeting = shared.arrivals.fetch_add(1) / 2;
  while (shared.arrivals.load() / 2 == meeting) isthmus::pauseSpinning();
}

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
      auto* words = reinterpret_cast<uint32_t*>(claim(producer, CLAIMED_BYTES));
      for (uint32_t word = 0; word < TouchedWords; word++) words[word] = sequence + word;
      producer.commit();
    }
    producer.publish();
  }
}

template <uint32_t TouchedWords>
void receiveClaimed(Consumer& consumer, uint32_t messages) {
  constexpr uint32_t SUM_OF_WORD_NUMBERS = TouchedWords * (TouchedWords - 1) / 2;
  uint32_t sequence = 0;
  while (sequence < messages) {
    consumer.drain([&](const uint8_t* payload, uint32_t byteLength) {
      const auto* words = reinterpret_cast<const uint32_t*>(payload);
      uint32_t sum = 0;
      for (uint32_t word = 0; word < TouchedWords; word++) sum += words[word];
      const uint32_t expected = sequence * TouchedWords + SUM_OF_WORD_NUMBERS;
      checkMessage(byteLength == CLAIMED_BYTES && sum == expected, sequence);
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

void sendCopied(Producer& producer, std::vector<uint8_t>& message, uint32_t messages) {
  const auto byteLength = static_cast<uint32_t>(message.size());
  for (uint32_t sequence = 0; sequence < messages; sequence++) {
    stamp(message.data(), byteLength, sequence);
    std::memcpy(claim(producer, byteLength), message.data(), byteLength);
    producer.commit();
    producer.publish();
  }
}

void receiveCopied(Consumer& consumer, std::vector<uint8_t>& message, uint32_t messages) {
  uint32_t sequence = 0;
  while (sequence < messages) {
    consumer.drain([&](const uint8_t* payload, uint32_t byteLength) {
      checkMessage(byteLength == message.size(), sequence);
      std::memcpy(message.data(), payload, byteLength);
      checkMessage(isStamped(message.data(), byteLength, sequence), sequence);
      sequence++;
    });
  }
}

// Returns whether this was the timed transfer.
template <typename Transfer>
bool timeTransfer(Shared& shared, Span& span, Transfer&& transfer) {
  meet(shared);
  const uint32_t messages = shared.messages;
  const bool isTimed = shared.isTimed;
  const double startMs = nowMs();
  transfer(messages);
  span = {startMs, nowMs()};
  meet(shared);
  return isTimed;
}

void produce(Shared& shared, const Work& work) {
  Producer producer(shared.positions, shared.records, work.capacityBytes);
  std::vector<uint8_t> message(work.messageBytes, 1);
  const auto transfer = [&](uint32_t messages) {
    if (work.isCopying) return sendCopied(producer, message, messages);
    if (work.touchedWords == 1) return sendClaimed<1>(producer, work, messages);
    return sendClaimed<CLAIMED_WORDS>(producer, work, messages);
  };
  uint32_t longTransfers = 0;
  double messagesPerMsMax = 0;
  while (!timeTransfer(shared, shared.producer, transfer)) {
    const double elapsedMs = nowMs() - shared.producer.startMs;
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
    if (work.isCopying) return receiveCopied(consumer, message, messages);
    if (work.touchedWords == 1) return receiveClaimed<1>(consumer, messages);
    return receiveClaimed<CLAIMED_WORDS>(consumer, messages);
  };
  while (!timeTransfer(shared, shared.consumer, transfer)) continue;
}

template <typename Role>
pid_t startSide(Role&& role) {
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) fail("fork failed");
  if (pid > 0) return pid;
  // A killed parent takes both sides with it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) std::_Exit(1);
  role();
  std::_Exit(0);
}

void waitForBoth(pid_t first, pid_t second) {
  for (int left = 2; left > 0; left--) {
    int status = 0;
    const pid_t ended = wait(&status);
    const bool isRight = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (ended > 0 && isRight) continue;
    kill(ended == first ? second : first, SIGKILL);
    fail(std::string(ended == first ? "the producer" : "the consumer") + " failed");
  }
}

Shared* mapShared(uint32_t capacityBytes) {
  const std::string name = "/isthmus-bench-native-" + std::to_string(getpid());
  const size_t byteLength = sizeof(Shared) + capacityBytes;
  const int fd = shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (fd < 0) fail("shm_open failed");
  // The sides inherit the mapping; without a name, nothing is left behind however this ends.
  shm_unlink(name.c_str());
  if (posix_fallocate(fd, 0, static_cast<off_t>(byteLength)) != 0) fail("no space for the ring");
  void* memory = mmap(nullptr, byteLength, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail("mmap failed");
  return new (memory) Shared;
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
  const bool fitsOneRecord = work.messageBytes >= 4 && work.messageBytes <= work.capacityBytes / 2 - 8;
  const bool isClaimable = work.messageBytes == CLAIMED_BYTES && work.batchMessages > 0 &&
                           (work.touchedWords == 1 || work.touchedWords == CLAIMED_WORDS);
  if (!isPowerOfTwo || !fitsOneRecord) fail("the capacity is no power of two, or a message does not fit into one record");
  if (!work.isCopying && !isClaimable) fail("claim takes messages of 64 bytes, in batches, with 1 or 16 words touched");
  return work;
}

}  // namespace

int main(int count, char** texts) {
  const Work work = parseWork(count, texts);
  Shared& shared = *mapShared(work.capacityBytes);
  const pid_t producer = startSide([&] { produce(shared, work); });
  const pid_t consumer = startSide([&] { consume(shared, work); });
  waitForBoth(producer, consumer);
  const double startMs = std::min(shared.producer.startMs, shared.consumer.startMs);
  const double stopMs = std::max(shared.producer.stopMs, shared.consumer.stopMs);
  const uint64_t bytes = static_cast<uint64_t>(shared.messages) * work.messageBytes;
  std::printf("{\"seconds\":%.9f,\"messages\":%u,\"bytes\":%llu}\n", (stopMs - startMs) / 1e3, shared.messages,
              static_cast<unsigned long long>(bytes));
  return 0;
}
