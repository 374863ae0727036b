// The gates of the broadcast ring of packages/ring/src/broadcast: names and numbers of steps as in layout.ts. One publisher, which
// may hold messages back, and subscribers that join while it runs with an older limit; each of them may be killed, or demoted.
//
// A message is one word; the word at a position holds the position + 1.
#include "command.hpp"

namespace models {

constexpr int WORDS_MAX = 4, GATES = 2;

enum Mutant { NOTHING, WITHOUT_J3, LIMIT_COUNTS_HELD_BACK, DEMOTED_NOT_VALIDATED, JOINING_IGNORED_LATE, FREED_WITHOUT_PROOF };
enum GateState : Byte { FREE, JOINING, ACTIVE, DEMOTED };
enum Step : Byte { IDLE, LOOK_OWNER, LOOK_CURSOR, WRITE, POSITION };
enum SubscriberStep : Byte { J1, J1_CURSOR, J2, J3, J4, RECEIVE, COPY, VALIDATE, RETURN, LOSSY };

struct Gate { GateState state; int8_t cursor; };
struct Subscriber { SubscriberStep step; int8_t cursor, seen; Byte copy, isDead; };

struct GatesState {
  Byte words[WORDS_MAX];
  int8_t writePosition, position, limit, lowest;
  Step step;
  Byte gate, left, kills, demotions;
  Gate gates[GATES];
  Subscriber subscribers[GATES];
};

class GatedRing : public PlainStates<GatesState> {
 public:
  static constexpr const char* mutantNames[] = {
      "nothing", "J3 left out", "the limit counts from what is held back", "a copy is not validated by the gate",
      "a gate holds the publisher back only once its subscriber reads", "a gate is freed without a proof",
  };

  GatedRing(std::map<std::string, int> numbers, int mutant)
      : capacity(numbers["words"]), messages(numbers["messages"]), cork(numbers["cork"]), killsMax(numbers["kills"]),
        demotionsMax(numbers["demotions"]), mutant(Mutant(mutant)) {}

  GatesState initial() const {
    GatesState s;
    memset(&s, 0, sizeof s);
    s.left = Byte(messages);
    s.limit = int8_t(capacity);
    return s;
  }

  template <class Take> void actions(const GatesState& s, Take take) {
    GatesState n = s;
    if (stepPublisher(n)) take(actionOf(0, n.step), n);
    for (int k = 0; k < GATES; k++) {
      n = s;
      if (!s.subscribers[k].isDead && stepSubscriber(n, k)) take(actionOf(1 + k, n.subscribers[k].step % 12), n);
      if (!s.subscribers[k].isDead && s.kills < killsMax) {
        n = s;
        n.kills++;
        n.subscribers[k].isDead = 1;
        take(actionOf(1 + k, KILL), n);
      }
      // Proven, or swept.
      const bool isFreed = s.gates[k].state != FREE && (s.subscribers[k].isDead || (mutant == FREED_WITHOUT_PROOF && s.gates[k].state == ACTIVE));
      if (isFreed) {
        n = s;
        n.gates[k].state = FREE;
        if (s.subscribers[k].isDead) memset(&n.subscribers[k], 0, sizeof n.subscribers[k]), n.subscribers[k].isDead = 1;
        take(actionOf(1 + k, RESTART), n);
      }
      if (s.gates[k].state == ACTIVE && s.demotions < demotionsMax) {
        n = s;
        n.demotions++;
        n.gates[k].state = DEMOTED;
        take(actionOf(1 + k, LEAVE), n);
      }
    }
  }

  bool checkRest(const GatesState& s) {
    GatesState n;
    // A publisher that is held back looks again and again.
    int lowest = s.writePosition;
    for (const Gate& gate : s.gates) if (gate.state == ACTIVE && gate.cursor < lowest) lowest = gate.cursor;
    const bool isHeldBack = s.left != 0 && s.position + 1 > lowest + capacity;
    bool canMove = s.step != IDLE || s.position != s.writePosition || (s.left != 0 && !isHeldBack);
    for (int k = 0; k < GATES; k++) {
      n = s;
      canMove = canMove || (!s.subscribers[k].isDead && stepSubscriber(n, k)) || (s.subscribers[k].isDead && s.gates[k].state != FREE);
    }
    if (canMove) return false;
    if (s.left != 0 || s.writePosition != messages) fail("the publisher stands still although no subscriber holds it back");
    for (int k = 0; k < GATES; k++) {
      const Subscriber& r = s.subscribers[k];
      if (!r.isDead && r.step != LOSSY && r.cursor != s.writePosition) fail("a subscriber stands still before the end");
    }
    return true;
  }

  std::string describe(Byte action, const GatesState& s) const {
    char text[300];
    int n = snprintf(text, sizeof text, "%s %d: write %d at %d limit %d", peerOf(action) == 0 ? "publisher" : "subscriber", kindOf(action), s.writePosition, s.position, s.limit);
    for (int k = 0; k < GATES; k++) n += snprintf(text + n, sizeof text - n, "; gate %d at %d, subscriber step %d at %d", s.gates[k].state, s.gates[k].cursor, s.subscribers[k].step, s.subscribers[k].cursor);
    return text;
  }

 private:
  const int capacity, messages, cork, killsMax, demotionsMax;
  const Mutant mutant;

  bool stepPublisher(GatesState& s) const {
    switch (s.step) {
      case IDLE:
        if (s.position - s.writePosition == cork || (s.left == 0 && s.position != s.writePosition)) { s.step = POSITION; return stepPublisher(s); }
        if (s.left == 0) return false;
        if (s.position + 1 <= s.limit) { s.step = WRITE; return stepPublisher(s); }
        // G1
        s.lowest = mutant == LIMIT_COUNTS_HELD_BACK ? s.position : s.writePosition;
        s.gate = 0;
        s.step = LOOK_OWNER;
        return stepPublisher(s);
      case LOOK_OWNER: {
        if (s.gate == GATES) {
          const bool isFull = s.position + 1 > s.lowest + capacity;
          s.limit = int8_t(s.lowest + capacity);
          s.gate = 0;
          s.lowest = 0;
          s.step = isFull && s.position != s.writePosition ? POSITION : IDLE;
          return true;
        }
        const Gate& gate = s.gates[s.gate];
        const bool holds = gate.state == ACTIVE && !(mutant == JOINING_IGNORED_LATE && s.subscribers[s.gate].step < RECEIVE);
        if (holds) s.step = LOOK_CURSOR;
        else s.gate++;
        return true;
      }
      case LOOK_CURSOR:
        if (s.gates[s.gate].cursor < s.lowest) s.lowest = s.gates[s.gate].cursor;
        s.gate++;
        s.step = LOOK_OWNER;
        return true;
      case WRITE:  // G3
        s.words[s.position % capacity] = Byte(s.position + 1);
        s.position++;
        s.left--;
        s.step = IDLE;
        return true;
      case POSITION:  // G4
        s.writePosition = s.position;
        s.step = IDLE;
        return true;
    }
    return false;
  }

  bool stepSubscriber(GatesState& s, int k) {
    Subscriber& r = s.subscribers[k];
    Gate& gate = s.gates[k];
    switch (r.step) {
      case J1:
        r.seen = s.writePosition;
        gate.state = JOINING;
        r.step = J1_CURSOR;
        return true;
      case J1_CURSOR:
        gate.cursor = r.cursor = r.seen;
        r.seen = 0;
        r.step = J2;
        return true;
      case J2:
        if (gate.state == JOINING) gate.state = ACTIVE;
        r.step = mutant == WITHOUT_J3 ? RECEIVE : J3;
        return true;
      case J3:
        r.cursor = s.writePosition;
        r.step = J4;
        return true;
      case J4:
        gate.cursor = r.cursor;
        r.step = RECEIVE;
        return true;
      case RECEIVE:
        if (s.writePosition == r.cursor) return false;
        r.step = COPY;
        return true;
      case COPY:
        r.copy = s.words[r.cursor % capacity];
        r.step = VALIDATE;
        return true;
      case VALIDATE:
        if (gate.state != ACTIVE && mutant != DEMOTED_NOT_VALIDATED && mutant != FREED_WITHOUT_PROOF) {
          r.step = LOSSY;
          r.copy = 0;
          return true;
        }
        if (r.copy != r.cursor + 1) fail("a subscriber with a gate has taken a word that is not the one of its position");
        r.copy = 0;
        r.cursor++;
        r.step = RETURN;
        return true;
      case RETURN:
        gate.cursor = r.cursor;
        r.step = RECEIVE;
        return true;
      default: return false;  // LOSSY: broadcast-lossy.cpp
    }
  }
};

constexpr const char* GatedRing::mutantNames[];

}  // namespace models

int main(int count, char** words) {
  return models::runCommand<models::GatedRing>(count, words, {{"words", 2}, {"messages", 6}, {"cork", 1}, {"kills", 1}, {"demotions", 0}});
}
