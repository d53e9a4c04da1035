!> The group /emulator/ among the groups of a host's namelist file.
module host_emulator_group
  use climlink_host_settings, only: climlink_emulator_settings, meaning_of_entry
  use host_namelists, only: namelist_group, namelist_unit
  implicit none (type, external)
  private

  public :: emulator_group

  type, extends(namelist_group) :: emulator_group
    type(climlink_emulator_settings) :: entries
  contains
    procedure :: transfer
    procedure, nopass :: meaning => meaning_of_entry
  end type emulator_group

contains

  subroutine transfer(self, file)
    class(emulator_group), intent(inout), target :: self
    type(namelist_unit), intent(inout) :: file

    call self%entries%transfer_group(file%unit, file%writing, file%failed, file%message)
  end subroutine transfer

end module host_emulator_group
