// wireguard-embeddable's parser without its socket. Its callbacks are static, hence the inclusion; the
// archive's own object is not linked then, since every name of it is here already.
#include <wireguard.c>

// drivers/net/wireguard/netlink.c, wg_get_device_dump(): a peer goes on in the next message only for
// the allowed addresses that are left, so that a continuation has at least one. coalesce_peers()
// relies on it, and would follow a null pointer otherwise.
static bool continued_as_the_kernel_does(const wg_device *device)
{
	const wg_peer *peer;

	wg_for_each_peer(device, peer) {
		const wg_peer *next = peer->next_peer;

		if (next && !next->first_allowedip && !memcmp(peer->public_key, next->public_key, sizeof(wg_key)))
			return false;
	}
	return true;
}

// As wg_get_device() with what it has received; NULL: it would have reported an error.
wg_device *wireguard_answer(const void *bytes, size_t size)
{
	wg_device *device = calloc(1, sizeof(wg_device));

	if (!device)
		return NULL;
	if (mnl_cb_run2(bytes, size, 0, 0, read_device_cb, device, mnlg_cb_array, MNL_ARRAY_SIZE(mnlg_cb_array)) < 0 ||
	    !continued_as_the_kernel_does(device)) {
		wg_free_device(device);
		return NULL;
	}
	coalesce_peers(device);
	return device;
}
