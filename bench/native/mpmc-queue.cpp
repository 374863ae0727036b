// Times the native queue between processes, by the rules of src/scenarios/many-to-many-throughput.ts: each producer sends the
// same number of messages; the time is that from the first start until a consumer sees that all messages have been received.
// Every message is checked as src/subjects/crowd/tally.ts does it. Prints one line.
//
//   mpmc-queue copy|loan producers consumers messageBytes cells warmUpMs targetMs     {"seconds":…,"messages":…}
//   mpmc-queue stopped producers consumers messageBytes cells stops phaseMs           {"share":…}
//
// copy: messages are copied in and copied out; loan: their ends are written and read in place. stopped: what one stopped
// producer leaves the others of their rate.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "mpmc-queue.h"
#include "two-sides.h"

namespace {

using isthmus::fail;
using isthmus::MpmcQueue;
using isthmus::nowNs;
using isthmus::SEPARATION;

constexpr uint32_t SIDES_MAX = 32;
constexpr uint32_t FIRST_MESSAGES = 16;
constexpr uint32_t GROWTH = 2;
constexpr uint32_t LONG_TRANSFERS = 8;
constexpr uint32_t MESSAGES_MAX = 1U << 27;
constexpr uint32_t SENDER_OFFSET = 4;
constexpr uint32_t LOOKS_BETWEEN_YIELDS = 64;
// Never reached: the producers go on until the conductor ends the run.
constexpr uint32_t NO_END = UINT32_MAX;
constexpr uint32_t MESSAGES_BETWEEN_COUNTS = 64;
constexpr double ALL_RUN_MS = 5;
constexpr double LOOK_MS = 0.1;

enum class Way { COPY, LOAN, STOPPED };

struct Work {
  Way way;
  uint32_t producers;
  uint32_t consumers;
  uint32_t messageBytes;
  uint32_t cells;
  // Or the number of stops, and how long each lasts.
  double warmUpMs;
  double targetMs;

  uint32_t sides() const { return producers + consumers; }
};

// What one side tells the others; a line of its own.
struct alignas(SEPARATION) Line {
  std::atomic<uint32_t> count{0};
  std::atomic<uint32_t> isPauseAsked{0};
  std::atomic<uint32_t> isPaused{0};
  double startNs = 0;
  double stopNs = 0;
};

// How many messages of a producer a consumer has received, and the sum of their mixed sequence numbers.
struct Received {
  uint32_t count = 0;
  uint32_t sum = 0;
};

struct Shared {
  isthmus::QueuePositions positions;
  isthmus::Meeting meeting;
  // Announced by the first producer before a meeting.
  uint32_t messages = FIRST_MESSAGES;
  bool isTimed = false;
  alignas(SEPARATION) std::atomic<uint32_t> expected{0};
  std::atomic<bool> isOver{false};
  Line producers[SIDES_MAX];
  Line consumers[SIDES_MAX];
  uint32_t sentSums[SIDES_MAX] = {};
  Received received[SIDES_MAX][SIDES_MAX];
  alignas(SEPARATION) uint8_t cells[1];
};

// Spreads a sequence number, so that messages that were lost and others that were doubled do not make up for each other.
uint32_t mix(uint32_t sequence) {
  const uint32_t mixed = (sequence ^ (sequence >> 15)) * 0x2c1b3c6dU;
  return mixed ^ (mixed >> 12);
}

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

void stamp(uint8_t* message, uint32_t byteLength, uint32_t sequence) {
  std::memcpy(message, &sequence, 4);
  std::memcpy(message + byteLength - 4, &sequence, 4);
}

class Sender {
 public:
  Sender(Shared& shared, const Work& work, uint32_t index)
      : work_(work),
        index_(static_cast<uint8_t>(index)),
        line_(shared.producers[index]),
        sum_(shared.sentSums[index]),
        queue_(shared.positions, shared.cells, work.cells, work.messageBytes),
        message_(work.messageBytes, 1) {
    message_[SENDER_OFFSET] = index_;
  }

  void send(uint32_t messages) {
    for (; messages > 0; messages--) {
      const uint32_t sequence = sequence_++;
      if (work_.way == Way::LOAN) {
        enqueue([&](uint8_t* payload) {
          stamp(payload, work_.messageBytes, sequence);
          payload[SENDER_OFFSET] = index_;
        });
      } else {
        stamp(message_.data(), work_.messageBytes, sequence);
        enqueue([&](uint8_t* payload) { std::memcpy(payload, message_.data(), work_.messageBytes); });
      }
      sum_ += mix(sequence);
    }
    line_.count.store(sequence_, std::memory_order_release);
  }

 private:
  template <typename Write>
  void enqueue(Write&& write) {
    Patience patience;
    while (!queue_.tryEnqueue(write)) patience.wait();
  }

  const Work& work_;
  const uint8_t index_;
  Line& line_;
  uint32_t& sum_;
  MpmcQueue queue_;
  std::vector<uint8_t> message_;
  uint32_t sequence_ = 0;
};

class Receiver {
 public:
  Receiver(Shared& shared, const Work& work, uint32_t index)
      : shared_(shared),
        work_(work),
        line_(shared.consumers[index]),
        received_(shared.received[index]),
        queue_(shared.positions, shared.cells, work.cells, work.messageBytes),
        message_(work.messageBytes),
        next_(work.producers, 0) {}

  // Returns when all consumers together have received everything.
  void receive() {
    Patience patience;
    for (;;) {
      const bool hasCome = work_.way == Way::LOAN ? takeInPlace() : takeCopy();
      if (hasCome) continue;
      if (isComplete()) return;
      patience.wait();
    }
  }

 private:
  bool takeInPlace() {
    return queue_.tryDequeue([&](const uint8_t* payload) { take(payload); });
  }

  bool takeCopy() {
    const bool hasCome = queue_.tryDequeue(
        [&](const uint8_t* payload) { std::memcpy(message_.data(), payload, work_.messageBytes); });
    if (hasCome) take(message_.data());
    return hasCome;
  }

  void take(const uint8_t* message) {
    const uint32_t sender = message[SENDER_OFFSET];
    uint32_t sequence = 0;
    std::memcpy(&sequence, message, 4);
    const bool isWhole = std::memcmp(message + work_.messageBytes - 4, &sequence, 4) == 0;
    if (sender >= work_.producers || !isWhole || sequence < next_[sender]) {
      fail("message " + std::to_string(sequence) + " of producer " + std::to_string(sender) + " is wrong or out of order");
    }
    next_[sender] = sequence + 1;
    received_[sender].count++;
    received_[sender].sum += mix(sequence);
    count_++;
  }

  bool isComplete() {
    line_.count.store(count_);
    uint32_t total = 0;
    for (uint32_t consumer = 0; consumer < work_.consumers; consumer++) total += shared_.consumers[consumer].count.load();
    return total == shared_.expected.load();
  }

  Shared& shared_;
  const Work& work_;
  Line& line_;
  Received* const received_;
  MpmcQueue queue_;
  std::vector<uint8_t> message_;
  // By producer: no lower sequence number may come.
  std::vector<uint32_t> next_;
  uint32_t count_ = 0;
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

// The first producer announces the transfers.
void produce(Shared& shared, const Work& work, uint32_t index) {
  Sender sender(shared, work, index);
  Line& line = shared.producers[index];
  uint32_t longTransfers = 0;
  double messagesPerMsMax = 0;
  if (index == 0) shared.expected.store(shared.messages * work.producers);
  while (!timeTransfer(shared, work, line, [&](uint32_t messages) { sender.send(messages); })) {
    if (index != 0) continue;
    const double elapsedMs = (nowNs() - line.startNs) / 1e6;
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
    shared.expected.store(shared.expected.load() + shared.messages * work.producers);
  }
}

void consume(Shared& shared, const Work& work, uint32_t index) {
  Receiver receiver(shared, work, index);
  while (!timeTransfer(shared, work, shared.consumers[index], [&](uint32_t) { receiver.receive(); })) continue;
}

void checkAllReceived(const Shared& shared, const Work& work) {
  for (uint32_t producer = 0; producer < work.producers; producer++) {
    uint32_t count = 0;
    uint32_t sum = 0;
    for (uint32_t consumer = 0; consumer < work.consumers; consumer++) {
      count += shared.received[consumer][producer].count;
      sum += shared.received[consumer][producer].sum;
    }
    const bool isRight = count == shared.producers[producer].count.load() && sum == shared.sentSums[producer];
    if (!isRight) fail("messages of producer " + std::to_string(producer) + " were lost or came twice");
  }
}

void timeTransfers(Shared& shared, const Work& work) {
  std::vector<pid_t> sides;
  for (uint32_t index = 0; index < work.producers; index++) {
    sides.push_back(isthmus::startSide([&] { produce(shared, work, index); }));
  }
  for (uint32_t index = 0; index < work.consumers; index++) {
    sides.push_back(isthmus::startSide([&] { consume(shared, work, index); }));
  }
  isthmus::awaitSides(sides);
  checkAllReceived(shared, work);
  double startNs = shared.producers[0].startNs;
  for (uint32_t index = 1; index < work.producers; index++) startNs = std::min(startNs, shared.producers[index].startNs);
  double stopNs = shared.consumers[0].stopNs;
  for (uint32_t index = 1; index < work.consumers; index++) stopNs = std::min(stopNs, shared.consumers[index].stopNs);
  const double messages = static_cast<double>(shared.messages) * work.producers;
  std::printf("{\"seconds\":%.9f,\"messages\":%.0f}\n", (stopNs - startNs) / 1e9, messages);
}

// Sends until the run is over, with pauses that the conductor asks for.
void produceOn(Shared& shared, const Work& work, uint32_t index) {
  Sender sender(shared, work, index);
  Line& line = shared.producers[index];
  shared.meeting.meet(work.sides());
  while (!shared.isOver.load()) {
    if (line.isPauseAsked.load() != 0) {
      line.isPaused.store(1);
      while (line.isPauseAsked.load() != 0 && !shared.isOver.load()) isthmus::sleepMs(LOOK_MS);
      line.isPaused.store(0);
    }
    sender.send(MESSAGES_BETWEEN_COUNTS);
  }
}

void consumeAll(Shared& shared, const Work& work, uint32_t index) {
  Receiver receiver(shared, work, index);
  shared.meeting.meet(work.sides());
  receiver.receive();
}

// Messages of all producers but the last one.
double rateOfOthers(const Shared& shared, const Work& work, double phaseMs) {
  const auto sentByOthers = [&] {
    uint32_t sent = 0;
    for (uint32_t index = 0; index + 1 < work.producers; index++) sent += shared.producers[index].count.load();
    return sent;
  };
  const double startNs = nowNs();
  const uint32_t before = sentByOthers();
  isthmus::sleepMs(phaseMs);
  const uint32_t sent = sentByOthers() - before;
  return sent / (nowNs() - startNs);
}

void waitUntilStopped(pid_t side) {
  int status = 0;
  if (waitpid(side, &status, WUNTRACED) != side || !WIFSTOPPED(status)) fail("the producer did not stop");
}

// The last producer is stopped wherever it is, or pauses between two messages, in turn; in between, all run.
void stopOne(Shared& shared, const Work& work) {
  shared.expected.store(NO_END);
  std::vector<pid_t> producers;
  std::vector<pid_t> sides;
  for (uint32_t index = 0; index < work.producers; index++) {
    producers.push_back(isthmus::startSide([&] { produceOn(shared, work, index); }));
  }
  for (uint32_t index = 0; index < work.consumers; index++) {
    sides.push_back(isthmus::startSide([&] { consumeAll(shared, work, index); }));
  }
  const pid_t victim = producers.back();
  Line& victimLine = shared.producers[work.producers - 1];
  const auto stops = static_cast<uint32_t>(work.warmUpMs);
  double stoppedRates = 0;
  double pausedRates = 0;
  isthmus::sleepMs(10 * ALL_RUN_MS);
  for (uint32_t stop = 0; stop < stops; stop++) {
    isthmus::sleepMs(ALL_RUN_MS);
    kill(victim, SIGSTOP);
    waitUntilStopped(victim);
    stoppedRates += rateOfOthers(shared, work, work.targetMs);
    kill(victim, SIGCONT);
    isthmus::sleepMs(ALL_RUN_MS);
    victimLine.isPauseAsked.store(1);
    while (victimLine.isPaused.load() == 0) isthmus::sleepMs(LOOK_MS);
    pausedRates += rateOfOthers(shared, work, work.targetMs);
    victimLine.isPauseAsked.store(0);
    while (victimLine.isPaused.load() != 0) isthmus::sleepMs(LOOK_MS);
  }
  shared.isOver.store(true);
  isthmus::awaitSides(producers);
  uint32_t sent = 0;
  for (uint32_t index = 0; index < work.producers; index++) sent += shared.producers[index].count.load();
  shared.expected.store(sent);
  isthmus::awaitSides(sides);
  checkAllReceived(shared, work);
  std::printf("{\"share\":%.6f}\n", stoppedRates / pausedRates);
}

Work parseWork(int count, char** texts) {
  if (count != 8) fail("give seven arguments; see the head of the source");
  const auto number = [&](int index) { return static_cast<uint32_t>(std::strtoul(texts[index], nullptr, 10)); };
  const std::string way = texts[1];
  Work work{};
  work.way = way == "stopped" ? Way::STOPPED : way == "loan" ? Way::LOAN : Way::COPY;
  work.producers = number(2);
  work.consumers = number(3);
  work.messageBytes = number(4);
  work.cells = number(5);
  work.warmUpMs = std::strtod(texts[6], nullptr);
  work.targetMs = std::strtod(texts[7], nullptr);
  const bool isPowerOfTwo = work.cells >= 2 && (work.cells & (work.cells - 1)) == 0;
  const bool areSides = std::min(work.producers, work.consumers) > 0 && std::max(work.producers, work.consumers) <= SIDES_MAX;
  if (!isPowerOfTwo || work.messageBytes < 12) fail("the cells are no power of two, or a message is below 12 bytes");
  if (!areSides) fail("give 1 to " + std::to_string(SIDES_MAX) + " producers, and as many consumers");
  return work;
}

}  // namespace

int main(int count, char** texts) {
  const Work work = parseWork(count, texts);
  Shared& shared = *isthmus::mapShared<Shared>(work.cells * MpmcQueue::strideBytesOf(work.messageBytes));
  MpmcQueue(shared.positions, shared.cells, work.cells, work.messageBytes).initialize();
  if (work.way == Way::STOPPED) {
    stopOne(shared, work);
  } else {
    timeTransfers(shared, work);
  }
  return 0;
}
