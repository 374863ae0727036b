// A waiter set, as in packages/sync/src/waiting/waiter-set.ts, with its words: sequence, waiting, awaiting, and registrations.
//
// Threads and event loops wait for items, each of which a notifier has put there before it notifies. Each access to shared memory
// is a step of its own, and after each step its agent may be killed. The count of registrations only grows, so a word that was
// loaded is compared with the present one by one bit: whether an agent has registered since. A thread that sleeps ends its sleep
// by a wake-up alone, a loop by a message: no fallback polls. Left out: the hand-off after 5 ms, several waits of one attachment,
// and the end of a wait by its deadline.
#include <functional>
#include <map>
#include "command.hpp"

namespace models {

constexpr int AGENTS_MAX = 6, LOOPS_MAX = 2;
// No call of these sizes takes as many steps alone.
constexpr int STEPS_MAX = 200;
constexpr int SWEEP = 12;

enum Mutant {
  NOTHING,
  NO_REGISTRATION,
  REGISTRATION_IS_NOT_COUNTED,
  LOOP_REGISTRATION_IS_NOT_COUNTED,
  CLEARS_WITHOUT_COMPARING,
  BITS_AFTER_REGISTRATION,
  REGISTERS_AFTER_LAST_POLL,
  FLAG_FROM_AN_EARLIER_LOAD,
  LOOP_DOES_NOT_RENEW,
  ALL_WOKEN_AFTER_A_WAKE_UP,
  ALL_WOKEN_OF_A_LATER_WORD,
  WOKEN_LOOPS_ARE_REMEMBERED_FOR_GOOD,
  BITS_BEFORE_FLAG_IS_LOADED,
  RENEWS_WITHOUT_FLAG,
  MUTANTS,
};

const char* const mutantNames[MUTANTS] = {
    "nothing",
    "a sleeper does not register",
    "a registration is not counted",
    "the registration of an event loop is not counted",
    "a notifier clears S whatever the word is by then",
    "a thread sets its bit after it has registered",
    "a thread registers after its last poll",
    "a thread sets S if it was clear before its registration",
    "a woken loop does not register again",
    "all sleepers count as woken although one was woken just now",
    "all sleepers count as woken for a word that is loaded at the end",
    "a loop that was woken once is not woken again",
    "a notifier looks at the bits before it loads S",
    "a woken loop registers again without S",
};

struct Size {
  int threads = 1, loops = 1, notifiers = 2;
  // How many items each notifier puts there, and each sleeper takes.
  int items = 1, takes = 1;
  int kills = 0, loopsToWake = 2, notifiesAll = 0;
};

enum Step : Byte {
  IDLE, OVER,
  // a sleeper
  SEQUENCE, WAITING, AWAITING, REGISTER, SET_FLAG, LATE_WAITING, POLL, WAIT, ASLEEP, REPOLL, RENEW, LEAVE_AWAITING, LEAVE_WAITING, TAKEN_AWAITING, TAKEN_WAITING, HAND_OFF, EARLY_FLAG,
  // a notifier
  LOAD, BITS, CLEAR, ADD, WAKE_THREADS, LOOPS_REGISTRATIONS, LOOPS_BITS, WAKE_LOOPS, ALL_WOKEN, EARLY_BITS,
};

const char* const stepNames[] = {
    "idle", "over",
    "sequence", "waiting", "awaiting", "registers", "sets S", "waiting late", "polls", "waits", "asleep", "polls again", "renews", "not awaiting", "not waiting", "not awaiting", "not waiting", "hands off", "S early",
    "loads S", "bits", "clears S", "sequence", "wakes", "registrations", "loop bits", "wakes loops", "all woken", "bits early",
};

struct Agent {
  Step step = IDLE;
  Byte isDead = 0, left = 0;
  // A thread: the sequence is still the one that it has loaded.
  Byte isSequenceSame = 0, sawFlag = 0, isLateFlag = 0;
  // A notification: the word that was loaded first, or for the loops, is still the present one; what it has woken.
  Byte isWordSame = 0, isLoopsWordSame = 0, hasFoundNone = 0, hasWoken = 0, isAnyLeft = 0, bits = 0, woken = 0;
  // What this attachment remembers: that all were woken, and which loops, for the present word.
  Byte areAllWoken = 0, wokenLoops = 0;
};

struct State {
  Byte items = 0, hasFlag = 0, waiting = 0, awaiting = 0, asleep = 0, messages = 0, kills = 0;
  Agent agents[AGENTS_MAX];
};

class WaiterSet {
 public:
  using State = models::State;
  std::string violation;

  WaiterSet(Size size, Mutant mutant) : size(size), mutant(mutant), sleepers(size.threads + size.loops), agents(sleepers + size.notifiers) {}

  State initial() {
    State s;
    for (int i = 0; i < agents; i++) s.agents[i].left = Byte(i < sleepers ? size.takes : size.items);
    return s;
  }

  template <class Visit>
  void visit(State& s, Visit each) {
    each(s.items), each(s.hasFlag), each(s.waiting), each(s.awaiting), each(s.asleep), each(s.messages), each(s.kills);
    for (int i = 0; i < agents; i++) each(s.agents[i]);
  }

  size_t packedBytes() {
    State s = initial();
    size_t bytes = 0;
    visit(s, [&](auto& field) { bytes += sizeof field; });
    return bytes;
  }

  void pack(const State& state, Byte* bytes) {
    visit(const_cast<State&>(state), [&](auto& field) { memcpy(bytes, &field, sizeof field), bytes += sizeof field; });
  }

  void unpack(const Byte* bytes, State& s) {
    visit(s, [&](auto& field) { memcpy((void*)&field, bytes, sizeof field), bytes += sizeof field; });
  }

  template <class Take>
  void actions(const State& state, Take take) {
    for (int i = 0; i < agents; i++) {
      const Agent& a = state.agents[i];
      if (a.isDead) {
        State next = state;
        if (sweep(next, i)) take(actionOf(i, SWEEP), next);
        continue;
      }
      int choices = 1;
      for (int k = 0; k < choices; k++) {
        State next = state;
        choice = k;
        choiceCount = 1;
        if (!step(next, i)) break;
        choices = choiceCount;
        assertArmed(next);
        take(actionOf(i, k), next);
        if (!violation.empty()) return;
      }
      if (state.kills < size.kills && a.step != OVER) {
        State next = state;
        next.kills++;
        next.asleep &= Byte(~(1 << i));
        next.agents[i] = Agent();
        next.agents[i].isDead = 1;
        take(actionOf(i, KILL), next);
      }
    }
  }

  // Nothing is left to do. Then no sleeper sleeps beside an item, and a new notifier would find each one that sleeps.
  bool checkRest(const State& s) {
    bool isAnyAsleep = false;
    for (int i = 0; i < agents; i++) {
      State next = s;
      choice = 0;
      if (s.agents[i].isDead ? sweep(next, i) : step(next, i)) return false;
      if (i >= sleepers || s.agents[i].step != ASLEEP) continue;
      isAnyAsleep = true;
      if (!s.hasFlag || !isBitSet(s.waiting, i) || (isLoop(i) && !isBitSet(s.awaiting, i))) fail("a new notifier would not find a sleeper");
    }
    for (int i = 0; i < sleepers; i++) {
      if (s.agents[i].isDead && (isBitSet(s.waiting, i) || isBitSet(s.awaiting, i))) fail("the bit of a dead sleeper stays");
    }
    // What a killed agent owed is found by fallback polls.
    if (isAnyAsleep && s.items > 0 && s.kills == 0) fail("at rest, and a sleeper sleeps beside an item");
    return true;
  }

  // From each state, each notifier finishes alone, wherever the others are stopped; so does each sleeper, or it sleeps.
  template <class OnRun>
  void solo(const State& state, OnRun onRun) {
    for (int i = 0; i < agents; i++) {
      if (state.agents[i].isDead || state.agents[i].step == IDLE || state.agents[i].step == OVER) continue;
      State s = state;
      int steps = 0;
      choice = 0;
      while (s.agents[i].step != IDLE && steps < STEPS_MAX && step(s, i)) steps++;
      if (steps == STEPS_MAX) fail("a call does not end, though its agent runs alone");
      if (!violation.empty()) return;
      onRun(steps);
    }
  }

  std::string describe(Byte action, const State& s) {
    const int i = peerOf(action), kind = kindOf(action);
    char text[200];
    snprintf(text, sizeof text, "%-8s %d %-9s -> %-14s | items %d S %d waiting %d awaiting %d asleep %d messages %d", i < size.threads ? "thread" : i < sleepers ? "loop" : "notifier", i,
             kind == KILL ? "is killed" : kind == SWEEP ? "is swept" : "", stepNames[s.agents[i].step], s.items, s.hasFlag, s.waiting, s.awaiting, s.asleep, s.messages);
    return text;
  }

 private:
  const Size size;
  const Mutant mutant;
  const int sleepers, agents;
  int choice = 0, choiceCount = 1;

  void fail(const char* what) { if (violation.empty()) violation = what; }
  bool isLoop(int i) const { return i >= size.threads && i < sleepers; }
  static bool isBitSet(Byte bits, int i) { return bits >> i & 1; }
  static Byte bitOf(int i) { return Byte(1 << i); }

  // Two steps for two words, as often as it takes: a sweeper that is killed is followed by another one.
  bool sweep(State& s, int i) {
    if (i >= sleepers) return false;
    if (isBitSet(s.awaiting, i)) s.awaiting &= Byte(~bitOf(i));
    else if (isBitSet(s.waiting, i)) s.waiting &= Byte(~bitOf(i));
    else return false;
    return true;
  }

  // A sleeper that has registered, and does not run yet, can be found.
  void assertArmed(const State& s) {
    for (int i = 0; i < sleepers; i++) {
      const Step at = s.agents[i].step;
      const bool isArmed = at == POLL || at == WAIT || at == ASLEEP || (isLoop(i) && at == RENEW);
      if (s.agents[i].isDead || !isArmed || mutant == NO_REGISTRATION || mutant == REGISTERS_AFTER_LAST_POLL) continue;
      if (!isBitSet(s.waiting, i) || !s.hasFlag) fail("a sleeper has registered, and its bit or S is not set");
    }
  }

  // The word of registrations has changed: whatever was loaded before differs from it from now on.
  void outdate(State& s) {
    for (int k = 0; k < agents; k++) {
      Agent& a = s.agents[k];
      a.isWordSame = a.isLoopsWordSame = a.areAllWoken = 0;
      if (mutant != WOKEN_LOOPS_ARE_REMEMBERED_FOR_GOOD) a.wokenLoops = 0;
    }
  }

  // The count, by one atomic add, which tells whether S was set. Then S, if it was not.
  void registerAgent(State& s, int i, Step after) {
    Agent& a = s.agents[i];
    const bool isCounted = mutant != REGISTRATION_IS_NOT_COUNTED && !(mutant == LOOP_REGISTRATION_IS_NOT_COUNTED && isLoop(i));
    bool hadFlag = s.hasFlag;
    if (mutant == FLAG_FROM_AN_EARLIER_LOAD && !isLoop(i)) hadFlag = a.sawFlag, a.sawFlag = 0;
    if (mutant == RENEWS_WITHOUT_FLAG && isLoop(i) && a.step == RENEW) hadFlag = true;
    if (isCounted) outdate(s);
    a.isLateFlag = after != POLL;
    a.step = hadFlag ? after : SET_FLAG;
    if (hadFlag) a.isLateFlag = 0;
  }

  bool step(State& s, int i) {
    Agent& a = s.agents[i];
    if (a.step >= LOAD) return stepNotify(s, i);
    if (i >= sleepers) {
      if (a.step != IDLE || a.left == 0) return false;
      s.items++;
      a.left--;
      a.step = mutant == BITS_BEFORE_FLAG_IS_LOADED ? EARLY_BITS : LOAD;
      return true;
    }
    return stepSleep(s, i);
  }

  // Takes an item, if there is one.
  bool take(State& s, Agent& a) {
    if (s.items == 0) return false;
    s.items--;
    a.left--;
    return true;
  }

  // --- WaitPoint.waitSync, PendingWaits, arm, renew, disarm, enterSync, leaveSync, #register

  bool stepSleep(State& s, int i) {
    Agent& a = s.agents[i];
    switch (a.step) {
      case IDLE:
        if (a.left == 0) {
          a.step = OVER;
          return true;
        }
        if (take(s, a)) a.step = HAND_OFF;
        else a.step = isLoop(i) ? WAITING : SEQUENCE;
        return true;
      case SEQUENCE:
        a.isSequenceSame = 1;
        a.step = mutant == BITS_AFTER_REGISTRATION ? REGISTER : WAITING;
        return true;
      case WAITING:
        s.waiting |= bitOf(i);
        a.step = isLoop(i) ? AWAITING : mutant == FLAG_FROM_AN_EARLIER_LOAD ? EARLY_FLAG : afterBits();
        return true;
      case AWAITING:
        s.awaiting |= bitOf(i);
        a.step = mutant == NO_REGISTRATION ? POLL : REGISTER;
        return true;
      case EARLY_FLAG:
        a.sawFlag = s.hasFlag;
        a.step = REGISTER;
        return true;
      case REGISTER:
        registerAgent(s, i, mutant == REGISTERS_AFTER_LAST_POLL && !isLoop(i) ? WAIT : mutant == BITS_AFTER_REGISTRATION && !isLoop(i) ? LATE_WAITING : POLL);
        return true;
      case SET_FLAG:
        s.hasFlag = 1;
        a.step = !a.isLateFlag ? POLL : mutant == REGISTERS_AFTER_LAST_POLL ? WAIT : LATE_WAITING;
        a.isLateFlag = 0;
        return true;
      case LATE_WAITING:
        s.waiting |= bitOf(i);
        a.step = POLL;
        return true;
      case POLL:
        if (take(s, a)) a.step = isLoop(i) ? TAKEN_AWAITING : TAKEN_WAITING;
        else if (isLoop(i)) a.step = ASLEEP;
        else a.step = mutant == REGISTERS_AFTER_LAST_POLL ? REGISTER : WAIT;
        return true;
      case WAIT:
        if (a.isSequenceSame) s.asleep |= bitOf(i), a.step = ASLEEP;
        else a.step = LEAVE_WAITING;
        return true;
      case ASLEEP:
        // A thread is woken by its notifier.
        if (!isLoop(i) || !isBitSet(s.messages, i)) return false;
        s.messages &= Byte(~bitOf(i));
        a.step = REPOLL;
        return true;
      case REPOLL:
        if (take(s, a)) a.step = TAKEN_AWAITING;
        else a.step = mutant == LOOP_DOES_NOT_RENEW ? POLL : RENEW;
        return true;
      case RENEW:
        registerAgent(s, i, POLL);
        return true;
      case LEAVE_WAITING:
        s.waiting &= Byte(~bitOf(i));
        a.isSequenceSame = 0;
        a.step = IDLE;
        return true;
      case TAKEN_AWAITING:
        s.awaiting &= Byte(~bitOf(i));
        a.step = TAKEN_WAITING;
        return true;
      case TAKEN_WAITING:
        s.waiting &= Byte(~bitOf(i));
        s.messages &= Byte(~bitOf(i));
        a.isSequenceSame = 0;
        a.step = HAND_OFF;
        return true;
      case HAND_OFF:
        a.step = s.items > 0 ? LOAD : IDLE;
        return true;
      default: return false;
    }
  }

  Step afterBits() const { return mutant == NO_REGISTRATION || mutant == REGISTERS_AFTER_LAST_POLL ? POLL : REGISTER; }

  // --- notifyOne, notifyAll, #wakeOne, #wakeAll, #isAwaited, #wakeLoops. A sleeper that hands off always uses notifyOne.

  bool stepNotify(State& s, int i) {
    Agent& a = s.agents[i];
    const bool isAll = size.notifiesAll && i >= sleepers;
    switch (a.step) {
      case EARLY_BITS:
        a.bits = s.waiting;
        a.step = LOAD;
        return true;
      case LOAD:
        if (!s.hasFlag || a.areAllWoken) return endNotify(s, i);
        a.isWordSame = 1;
        a.step = BITS;
        return true;
      case BITS: {
        const Byte waiting = mutant == BITS_BEFORE_FLAG_IS_LOADED ? a.bits : s.waiting;
        a.bits = 0;
        a.step = waiting ? ADD : CLEAR;
        return true;
      }
      case CLEAR:
        if ((a.isWordSame || mutant == CLEARS_WITHOUT_COMPARING) && s.hasFlag) s.hasFlag = 0;
        return endNotify(s, i);
      case ADD:
        for (int t = 0; t < size.threads; t++) s.agents[t].isSequenceSame = 0;
        a.step = WAKE_THREADS;
        return true;
      case WAKE_THREADS: {
        if (isAll) {
          for (int t = 0; t < size.threads; t++) if (isBitSet(s.asleep, t)) wakeThread(s, t), a.hasWoken = 1;
          a.step = LOOPS_REGISTRATIONS;
          return true;
        }
        int count = 0;
        for (int t = 0; t < size.threads; t++) count += isBitSet(s.asleep, t);
        if (count == 0) {
          a.step = LOOPS_REGISTRATIONS;
          return true;
        }
        // Which thread, and whether it is the turn of the loops as well.
        const int chosen = choose(2 * count);
        int nth = chosen / 2;
        for (int t = 0; t < size.threads; t++) if (isBitSet(s.asleep, t) && nth-- == 0) wakeThread(s, t);
        a.hasWoken = 1;
        if (chosen % 2) a.step = LOOPS_REGISTRATIONS;
        else if (mutant == ALL_WOKEN_AFTER_A_WAKE_UP) a.step = ALL_WOKEN;
        else return endNotify(s, i);
        return true;
      }
      case LOOPS_REGISTRATIONS:
        a.isLoopsWordSame = 1;
        a.step = LOOPS_BITS;
        return true;
      case LOOPS_BITS:
        a.bits = s.awaiting;
        a.step = WAKE_LOOPS;
        return true;
      case WAKE_LOOPS: {
        const Byte known = a.isLoopsWordSame || mutant == WOKEN_LOOPS_ARE_REMEMBERED_FOR_GOOD ? a.wokenLoops : 0;
        const Byte left = a.bits & Byte(~known);
        if (left == 0) {
          a.step = ALL_WOKEN;
          return true;
        }
        // In any order: each attachment begins elsewhere.
        int count = 0;
        for (int l = size.threads; l < sleepers; l++) count += isBitSet(left, l);
        int nth = choose(count);
        for (int l = size.threads; l < sleepers; l++) {
          if (!isBitSet(left, l) || nth-- != 0) continue;
          s.messages |= bitOf(l);
          a.bits &= Byte(~bitOf(l));
          if (a.isLoopsWordSame || mutant == WOKEN_LOOPS_ARE_REMEMBERED_FOR_GOOD) a.wokenLoops |= bitOf(l);
        }
        a.isAnyLeft = 1;
        if (++a.woken == (isAll ? sleepers : size.loopsToWake)) return endNotify(s, i);
        return true;
      }
      case ALL_WOKEN:
        if (!a.isAnyLeft && (!a.hasWoken || mutant == ALL_WOKEN_AFTER_A_WAKE_UP)) {
          a.areAllWoken = a.isWordSame || mutant == ALL_WOKEN_OF_A_LATER_WORD;
        }
        return endNotify(s, i);
      default: return false;
    }
  }

  void wakeThread(State& s, int t) {
    s.asleep &= Byte(~bitOf(t));
    s.agents[t].step = LEAVE_WAITING;
  }

  bool endNotify(State& s, int i) {
    Agent& a = s.agents[i];
    a.isWordSame = a.isLoopsWordSame = a.hasWoken = a.isAnyLeft = a.bits = a.woken = 0;
    a.step = IDLE;
    return true;
  }

  // Chooses one of several alternatives.
  int choose(int count) {
    choiceCount = count;
    return choice;
  }
};

// --- The command: waiter-set [--mutant NAME] [--states N] [--solo] name=value …

int run(int count, char** words) {
  Size size;
  const Assign toNumber = toNumbers({
      {"threads", &size.threads}, {"loops", &size.loops}, {"notifiers", &size.notifiers}, {"items", &size.items}, {"takes", &size.takes},
      {"kills", &size.kills}, {"loopsToWake", &size.loopsToWake}, {"notifiesAll", &size.notifiesAll}});
  Command command;
  const int code = readCommand(count, words, mutantNames, MUTANTS, toNumber, command);
  if (code >= 0) return code;
  WaiterSet model(size, Mutant(command.mutant));
  return exploreModel(model, command);
}

}  // namespace models

int main(int count, char** words) { return models::run(count, words); }
