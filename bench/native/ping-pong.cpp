// Times round trips between two processes, by the rules of src/scenarios/ping-pong-latency.ts: warm up, then time single
// round trips, spread over about as long as asked, or after pauses. Prints one line: {"samplesNs":[…]}
//
//   ping-pong spin|futex pauseMs warmUpMs targetMs samples
//
// spin: through two SPSC rings, as isthmus does. futex: through two words; a waiter sleeps at once.

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "spsc-ring.h"
#include "two-sides.h"

namespace {

using isthmus::fail;
using isthmus::nowNs;

constexpr uint32_t CAPACITY_BYTES = 4096;
constexpr uint32_t MESSAGE_BYTES = 8;
constexpr uint32_t SAMPLES_MAX = 1U << 20;
constexpr uint32_t LAST_TRIP = UINT32_MAX;

struct Ring {
  isthmus::Positions positions;
  alignas(isthmus::SEPARATION) uint8_t records[CAPACITY_BYTES];
};

class RingEnd {
 public:
  RingEnd(Ring& out, Ring& in)
      : producer_(out.positions, out.records, CAPACITY_BYTES), consumer_(in.positions, in.records, CAPACITY_BYTES) {}

  void send(uint32_t trip) {
    uint8_t* payload = producer_.tryClaim(MESSAGE_BYTES);
    while (payload == nullptr) payload = producer_.tryClaim(MESSAGE_BYTES);
    std::memcpy(payload, &trip, sizeof trip);
    producer_.commit();
    producer_.publish();
  }

  uint32_t receive() {
    bool hasCome = false;
    uint32_t trip = 0;
    while (!hasCome) {
      consumer_.drain([&](const uint8_t* payload, uint32_t) {
        std::memcpy(&trip, payload, sizeof trip);
        hasCome = true;
      });
    }
    return trip;
  }

 private:
  isthmus::Producer producer_;
  isthmus::Consumer consumer_;
};

// A number, how many were sent, and whether the receiver sleeps.
struct Mailbox {
  alignas(isthmus::SEPARATION) std::atomic<uint32_t> sent{0};
  std::atomic<uint32_t> isAwaited{0};
  uint32_t trip = 0;
};

class MailboxEnd {
 public:
  MailboxEnd(Mailbox& out, Mailbox& in) : out_(out), in_(in) {}

  void send(uint32_t trip) {
    out_.trip = trip;
    out_.sent.fetch_add(1);
    if (out_.isAwaited.load() != 0) syscall(SYS_futex, &out_.sent, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }

  uint32_t receive() {
    while (in_.sent.load() == received_) {
      in_.isAwaited.store(1);
      if (in_.sent.load() == received_) syscall(SYS_futex, &in_.sent, FUTEX_WAIT, received_, nullptr, nullptr, 0);
      in_.isAwaited.store(0);
    }
    received_++;
    return in_.trip;
  }

 private:
  Mailbox& out_;
  Mailbox& in_;
  uint32_t received_ = 0;
};

struct Shared {
  Ring requestRing;
  Ring answerRing;
  Mailbox requests;
  Mailbox answers;
  isthmus::Meeting meeting;
  uint32_t sampleCount = 0;
  double samplesNs[SAMPLES_MAX];
};

struct Pace {
  double pauseMs;
  double warmUpMs;
  double targetMs;
  uint32_t samples;
};

template <typename End>
void answerAll(End end) {
  for (;;) {
    const uint32_t trip = end.receive();
    end.send(trip);
    if (trip == LAST_TRIP) return;
  }
}

template <typename End>
class Asker {
 public:
  Asker(End end, Shared& shared, const Pace& pace) : end_(end), shared_(shared), pace_(pace) {}

  void ask() {
    const double startNs = nowNs();
    while (nowNs() - startNs < pace_.warmUpMs * 1e6) travel(16);
    if (pace_.pauseMs > 0) {
      for (uint32_t sample = 0; sample < pace_.samples; sample++) {
        isthmus::sleepMs(pace_.pauseMs);
        timeOne();
      }
    } else {
      const double tripsInTarget = trips_ * pace_.targetMs * 1e6 / (nowNs() - startNs);
      const auto untimed = static_cast<uint32_t>(tripsInTarget / pace_.samples);
      const double endNs = nowNs() + pace_.targetMs * 1e6;
      while (nowNs() < endNs && shared_.sampleCount < SAMPLES_MAX) {
        travel(untimed);
        timeOne();
      }
    }
    end_.send(LAST_TRIP);
    end_.receive();
  }

 private:
  void travel(uint32_t count) {
    for (; count > 0; count--) {
      end_.send(trips_);
      if (end_.receive() != trips_) fail("another number came back");
      trips_++;
    }
  }

  void timeOne() {
    const double startNs = nowNs();
    travel(1);
    shared_.samplesNs[shared_.sampleCount++] = std::max(0.0, nowNs() - startNs - clockNs_);
  }

  End end_;
  Shared& shared_;
  const Pace& pace_;
  const double clockNs_ = isthmus::clockCostNs();
  uint32_t trips_ = 0;
};

template <typename End, typename Way>
void run(Shared& shared, const Pace& pace, Way& requests, Way& answers) {
  isthmus::runSides(
      [&] {
        shared.meeting.meet();
        answerAll(End(answers, requests));
      },
      [&] {
        shared.meeting.meet();
        Asker<End>(End(requests, answers), shared, pace).ask();
      });
}

}  // namespace

int main(int count, char** texts) {
  if (count != 6) fail("give five arguments; see the head of the source");
  const std::string way = texts[1];
  const auto number = [&](int index) { return std::strtod(texts[index], nullptr); };
  const Pace pace = {number(2), number(3), number(4), static_cast<uint32_t>(number(5))};
  if (pace.samples == 0 || pace.samples > SAMPLES_MAX) fail("the number of samples is out of range");
  Shared& shared = *isthmus::mapShared<Shared>();
  if (way == "spin") {
    run<RingEnd>(shared, pace, shared.requestRing, shared.answerRing);
  } else {
    run<MailboxEnd>(shared, pace, shared.requests, shared.answers);
  }
  isthmus::printSamples(shared.samplesNs, shared.sampleCount);
  return 0;
}
