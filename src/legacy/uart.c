/* SPDX-License-Identifier: MIT */
/*
 * 16550A. Interrupt sources are kept as states (pending bits), the IIR and the line are computed
 * from them after every change. Characters wait in the receive FIFO until the guest reads them and
 * in the transmit FIFO only while the back end takes no more.
 *
 * The other side sends only while the guest listens, as hardware flow control would have it: what
 * a script types before the guest's driver has reset the FIFOs must not be lost. The guest listens
 * when it asserts RTS, which drivers do last, or when it polls the line status and sends nothing.
 */
#include "legacy/uart.h"

#include <errno.h>
#include <linux/serial_reg.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"
#include "dev/bus.h"
#include "host/clock.h"
#include "host/loop.h"
#include "ui/chardev.h"

#define FIFO_SIZE 16u
#define BAUD_BASE 115200u
#define TIMEOUT_CHARS 4u
#define POLLS_TO_LISTEN 16u /* a transmitter's polls are fewer: it is empty at once */
#define FCR_FIXED (UART_FCR_ENABLE_FIFO | UART_FCR_DMA_SELECT | UART_FCR_TRIGGER_MASK)
#define MSR_LINES (UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD)
#define LSR_ERRORS (UART_LSR_OE | UART_LSR_PE | UART_LSR_FE | UART_LSR_BI)

struct uart_fifo {
	uint8_t data[FIFO_SIZE];
	uint8_t head, count;
};

struct uart {
	struct device dev;
	struct uart_config config;
	struct bus *pio;
	struct loop_timer *timer; /* the receiver's character timeout */
	struct uart_fifo rx, tx;
	uint8_t ier, fcr, lcr, mcr, scr;
	uint8_t lsr_errors;       /* OE and BI, until LSR is read */
	uint8_t msr;
	uint16_t divisor;
	bool thre_pending;        /* the transmitter ran empty and nobody has seen it */
	bool timeout_pending;
	uint8_t polls;            /* reads of LSR since something was sent, up to POLLS_TO_LISTEN */
};

static bool fifo_push(struct uart_fifo *fifo, unsigned depth, uint8_t byte)
{
	if (fifo->count >= depth)
		return false;
	fifo->data[(fifo->head + fifo->count++) % FIFO_SIZE] = byte;
	return true;
}

static uint8_t fifo_pop(struct uart_fifo *fifo)
{
	uint8_t byte = fifo->data[fifo->head];

	fifo->head = (fifo->head + 1) % FIFO_SIZE;
	fifo->count--;
	return byte;
}

/* A snapshot is a file like any other: it may be damaged. */
static void fifo_check(struct uart_fifo *fifo)
{
	fifo->head %= FIFO_SIZE;
	if (fifo->count > FIFO_SIZE)
		fifo->count = FIFO_SIZE;
}

static bool fifos_on(const struct uart *uart)
{
	return uart->fcr & UART_FCR_ENABLE_FIFO;
}

static unsigned depth(const struct uart *uart)
{
	return fifos_on(uart) ? FIFO_SIZE : 1;
}

static unsigned trigger_level(const struct uart *uart)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return fifos_on(uart) ? levels[uart->fcr >> 6] : 1;
}

static uint8_t lsr(const struct uart *uart)
{
	uint8_t value = uart->lsr_errors;

	if (uart->rx.count)
		value |= UART_LSR_DR;
	if (!uart->tx.count)
		value |= UART_LSR_THRE | UART_LSR_TEMT;
	return value;
}

/* The source with the highest priority, as the IIR shows it. */
static uint8_t interrupt_id(const struct uart *uart)
{
	if (uart->ier & UART_IER_RLSI && uart->lsr_errors)
		return UART_IIR_RLSI;
	if (uart->ier & UART_IER_RDI && uart->rx.count >= trigger_level(uart))
		return UART_IIR_RDI;
	if (uart->ier & UART_IER_RDI && uart->timeout_pending)
		return UART_IIR_RX_TIMEOUT;
	if (uart->ier & UART_IER_THRI && uart->thre_pending)
		return UART_IIR_THRI;
	if (uart->ier & UART_IER_MSI && uart->msr & UART_MSR_ANY_DELTA)
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

static void update_irq(struct uart *uart)
{
	/* In loopback the OUT2 pin is inactive, whatever MCR says. */
	bool gate = (uart->mcr & (UART_MCR_OUT2 | UART_MCR_LOOP)) == UART_MCR_OUT2;

	irq_set(&uart->config.irq, gate && interrupt_id(uart) != UART_IIR_NO_INT);
}

/* The timeout runs while characters wait below the trigger level; each new one restarts it. */
static void restart_timeout(struct uart *uart)
{
	uint64_t divisor = uart->divisor ? uart->divisor : 1;
	uint64_t char_ns = 10 * CLOCK_NS_PER_S * divisor / BAUD_BASE;

	uart->timeout_pending = false;
	if (fifos_on(uart) && uart->rx.count && uart->rx.count < trigger_level(uart))
		loop_timer_arm(uart->timer, clock_now_ns() + TIMEOUT_CHARS * char_ns);
	else
		loop_timer_disarm(uart->timer);
}

static void timeout_expired(void *opaque)
{
	struct uart *uart = opaque;

	uart->timeout_pending = fifos_on(uart) && uart->rx.count;
	update_irq(uart);
}

/* ---- receiver ---- */

static void receive_byte(struct uart *uart, uint8_t byte)
{
	if (!fifo_push(&uart->rx, depth(uart), byte))
		uart->lsr_errors |= UART_LSR_OE;
}

static bool listens(const struct uart *uart)
{
	return uart->mcr & UART_MCR_RTS || uart->polls == POLLS_TO_LISTEN;
}

static size_t front_can_receive(void *opaque)
{
	struct uart *uart = opaque;

	if (uart->mcr & UART_MCR_LOOP || !listens(uart))
		return 0;
	return depth(uart) - uart->rx.count;
}

static void tell_new_room(struct uart *uart, bool had_room)
{
	if (!had_room && front_can_receive(uart))
		chardev_input_room(uart->config.chardev);
}

static void front_receive(void *opaque, const uint8_t *data, size_t len)
{
	struct uart *uart = opaque;

	for (size_t i = 0; i < len; i++)
		receive_byte(uart, data[i]);
	restart_timeout(uart);
	update_irq(uart);
}

static void front_break(void *opaque)
{
	struct uart *uart = opaque;

	if (uart->mcr & UART_MCR_LOOP)
		return;
	receive_byte(uart, 0);
	uart->lsr_errors |= UART_LSR_BI;
	restart_timeout(uart);
	update_irq(uart);
}

static uint8_t read_rbr(struct uart *uart)
{
	bool was_full = uart->rx.count >= depth(uart);
	uint8_t byte;

	if (!uart->rx.count)
		return 0;
	byte = fifo_pop(&uart->rx);
	restart_timeout(uart);
	update_irq(uart);
	if (was_full && !(uart->mcr & UART_MCR_LOOP))
		chardev_input_room(uart->config.chardev);
	return byte;
}

/* ---- transmitter ---- */

static void drain_tx(struct uart *uart)
{
	struct uart_fifo *tx = &uart->tx;

	while (tx->count) {
		unsigned run = FIFO_SIZE - tx->head < tx->count ? FIFO_SIZE - tx->head : tx->count;
		size_t taken = chardev_write(uart->config.chardev, tx->data + tx->head, run);

		tx->head = (tx->head + taken) % FIFO_SIZE;
		tx->count -= taken;
		if (taken < run)
			return;
	}
	uart->thre_pending = true;
}

static void front_writable(void *opaque)
{
	struct uart *uart = opaque;

	if (!uart->tx.count)
		return;
	drain_tx(uart);
	update_irq(uart);
}

static void write_thr(struct uart *uart, uint8_t byte)
{
	uart->thre_pending = false;
	uart->polls = 0;
	if (uart->mcr & UART_MCR_LOOP) {
		receive_byte(uart, byte);
		restart_timeout(uart);
		uart->thre_pending = true;
	} else if (fifo_push(&uart->tx, depth(uart), byte)) {
		drain_tx(uart);
	}
	update_irq(uart);
}

/* ---- modem lines ---- */

static void set_modem_lines(struct uart *uart, uint8_t lines)
{
	uint8_t changed = (uart->msr ^ lines) & 0xf0;
	uint8_t delta = changed >> 4 & (UART_MSR_DCTS | UART_MSR_DDSR | UART_MSR_DDCD);

	/* Of the ring indicator only the end of a ring counts. */
	if (uart->msr & UART_MSR_RI && !(lines & UART_MSR_RI))
		delta |= UART_MSR_TERI;
	uart->msr = lines | (uart->msr & UART_MSR_ANY_DELTA) | delta;
}

static uint8_t outer_lines(const struct uart *uart)
{
	return uart->config.chardev ? MSR_LINES : 0;
}

static uint8_t loop_lines(uint8_t mcr)
{
	return (mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) | (mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
	       (mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) | (mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0);
}

static void write_mcr(struct uart *uart, uint8_t value)
{
	bool had_room = front_can_receive(uart);

	uart->mcr = value & 0x1f;
	set_modem_lines(uart, value & UART_MCR_LOOP ? loop_lines(value) : outer_lines(uart));
	update_irq(uart);
	tell_new_room(uart, had_room);
}

/* ---- registers ---- */

static void write_ier(struct uart *uart, uint8_t value)
{
	/* Enabling the transmitter's interrupt while it is empty raises it. */
	if (value & ~uart->ier & UART_IER_THRI && !uart->tx.count)
		uart->thre_pending = true;
	uart->ier = value & 0x0f;
	update_irq(uart);
}

static void write_fcr(struct uart *uart, uint8_t value)
{
	bool switched = (uart->fcr ^ value) & UART_FCR_ENABLE_FIFO;

	if (!(value & UART_FCR_ENABLE_FIFO))
		value = 0;
	if (switched || value & UART_FCR_CLEAR_RCVR)
		uart->rx = (struct uart_fifo){ 0 };
	if (switched || value & UART_FCR_CLEAR_XMIT) {
		uart->tx = (struct uart_fifo){ 0 };
		uart->thre_pending = true;
	}
	uart->fcr = value & FCR_FIXED;
	restart_timeout(uart);
	update_irq(uart);
	chardev_input_room(uart->config.chardev);
}

static uint8_t read_iir(struct uart *uart)
{
	uint8_t id = interrupt_id(uart);

	if (id == UART_IIR_THRI) {
		uart->thre_pending = false;
		update_irq(uart);
	}
	return id | (fifos_on(uart) ? 0xc0 : 0);
}

static uint8_t read_lsr(struct uart *uart)
{
	uint8_t value = lsr(uart);

	if (uart->lsr_errors) {
		uart->lsr_errors = 0;
		update_irq(uart);
	}
	if (uart->polls < POLLS_TO_LISTEN && ++uart->polls == POLLS_TO_LISTEN)
		chardev_input_room(uart->config.chardev);
	return value;
}

static uint8_t read_msr(struct uart *uart)
{
	uint8_t value = uart->msr;

	if (value & UART_MSR_ANY_DELTA) {
		uart->msr &= ~UART_MSR_ANY_DELTA;
		update_irq(uart);
	}
	return value;
}

static uint64_t uart_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct uart *uart = opaque;
	bool dlab = uart->lcr & UART_LCR_DLAB;

	(void)size;
	(void)cpu;
	switch (offset) {
	case UART_RX:
		return dlab ? uart->divisor & 0xff : read_rbr(uart);
	case UART_IER:
		return dlab ? uart->divisor >> 8 : uart->ier;
	case UART_IIR:
		return read_iir(uart);
	case UART_LCR:
		return uart->lcr;
	case UART_MCR:
		return uart->mcr;
	case UART_LSR:
		return read_lsr(uart);
	case UART_MSR:
		return read_msr(uart);
	default:
		return uart->scr;
	}
}

static void uart_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct uart *uart = opaque;
	bool dlab = uart->lcr & UART_LCR_DLAB;

	(void)size;
	(void)cpu;
	switch (offset) {
	case UART_TX:
		if (dlab)
			uart->divisor = (uart->divisor & 0xff00) | value;
		else
			write_thr(uart, value);
		break;
	case UART_IER:
		if (dlab)
			uart->divisor = (uart->divisor & 0xff) | value << 8;
		else
			write_ier(uart, value);
		break;
	case UART_FCR:
		write_fcr(uart, value);
		break;
	case UART_LCR:
		uart->lcr = value;
		break;
	case UART_MCR:
		write_mcr(uart, value);
		break;
	case UART_SCR:
		uart->scr = value;
		break;
	default: /* LSR and MSR are for the factory's tests */
		break;
	}
}

/* ---- life ---- */

/* What the guest had sent before the reset is sent; the data sheet's master reset does the rest. */
static void uart_reset(struct device *dev)
{
	struct uart *uart = (struct uart *)dev;

	uart->rx = (struct uart_fifo){ 0 };
	uart->ier = uart->fcr = uart->lcr = uart->mcr = uart->scr = 0;
	uart->lsr_errors = 0;
	uart->msr = outer_lines(uart);
	uart->divisor = 12;
	uart->thre_pending = uart->timeout_pending = false;
	uart->polls = 0;
	loop_timer_disarm(uart->timer);
	update_irq(uart);
	chardev_input_room(uart->config.chardev);
}

static void uart_restored(struct device *dev)
{
	struct uart *uart = (struct uart *)dev;
	bool timeout = uart->timeout_pending;

	fifo_check(&uart->rx);
	fifo_check(&uart->tx);
	if (uart->polls > POLLS_TO_LISTEN)
		uart->polls = POLLS_TO_LISTEN;
	restart_timeout(uart);
	uart->timeout_pending = timeout;
	if (uart->tx.count)
		drain_tx(uart);
	update_irq(uart);
}

static void uart_destroy(struct device *dev)
{
	struct uart *uart = (struct uart *)dev;

	bus_remove(uart->pio, uart->config.port);
	chardev_detach(uart->config.chardev);
	loop_timer_destroy(uart->timer);
	free(uart);
}

static const struct state_field uart_fields[] = {
	STATE_FIELD(struct uart, rx),
	STATE_FIELD(struct uart, tx),
	STATE_FIELD(struct uart, ier),
	STATE_FIELD(struct uart, fcr),
	STATE_FIELD(struct uart, lcr),
	STATE_FIELD(struct uart, mcr),
	STATE_FIELD(struct uart, scr),
	STATE_FIELD(struct uart, lsr_errors),
	STATE_FIELD(struct uart, msr),
	STATE_FIELD(struct uart, divisor),
	STATE_FIELD(struct uart, thre_pending),
	STATE_FIELD(struct uart, timeout_pending),
	STATE_FIELD(struct uart, polls),
	STATE_FIELDS_END,
};

static const struct device_class uart_class = {
	.name = "uart",
	.reset = uart_reset,
	.destroy = uart_destroy,
	.fields = uart_fields,
	.restored = uart_restored,
};

static void attach(struct uart *uart)
{
	struct chardev_front front = {
		.can_receive = front_can_receive,
		.receive = front_receive,
		.writable = front_writable,
		.receive_break = front_break,
		.opaque = uart,
	};

	chardev_attach(uart->config.chardev, &front);
}

int uart_create(const struct device_env *env, const struct uart_config *config,
		struct device **dev, struct error *err)
{
	struct uart *uart = calloc(1, sizeof(*uart));
	struct bus_range range = {
		.base = config->port,
		.size = UART_PORTS,
		.name = "uart",
		.opaque = uart,
		.max_width = 1,
		.read = uart_read,
		.write = uart_write,
	};
	int ret;

	if (!uart)
		return error_set(err, ENOMEM, "uart: out of memory");
	uart->dev.class = &uart_class;
	uart->config = *config;
	uart->pio = env->pio;
	ret = loop_timer_create(env->loop, timeout_expired, uart, &uart->timer);
	if (ret) {
		error_set_errno(err, -ret, "uart: timer");
		goto free_uart;
	}
	ret = bus_add(env->pio, &range, err);
	if (ret)
		goto free_timer;
	uart_reset(&uart->dev);
	attach(uart);
	*dev = &uart->dev;
	return 0;

free_timer:
	loop_timer_destroy(uart->timer);
free_uart:
	free(uart);
	return ret;
}
